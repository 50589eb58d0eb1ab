// Attachments that tell a component when it comes into view and how wide it is.
import type { Attachment } from 'svelte/attachments';

/** Calls `seen` once, when the element is within a screen of being visible, or about to be printed. */
export function inView(seen: () => void): Attachment {
  return (node) => {
    const once = () => {
      stop();
      seen();
    };
    const observer = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && once(), {
      rootMargin: '600px 0px',
    });
    const stop = () => {
      observer.disconnect();
      removeEventListener('beforeprint', once);
    };
    observer.observe(node);
    addEventListener('beforeprint', once);
    return stop;
  };
}

/** Calls `moved` with the keys of a grid: rows and columns to go. Home and End go far. */
export function arrows(event: KeyboardEvent): [number, number] | null {
  const steps: Record<string, [number, number]> = {
    ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e6], End: [0, 1e6],
  };
  if (event.altKey || event.ctrlKey || event.metaKey) return null;
  return steps[event.key] ?? null;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
