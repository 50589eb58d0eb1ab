// Attachments that tell a component when it comes into view and how wide it is.
import { flushSync } from 'svelte';
import type { Attachment } from 'svelte/attachments';

/**
 * Calls `seen` once: when the element is within a screen of being visible, or when the page has nothing else to do, so that
 * everything is there when the page is printed; what is not drawn by then is drawn before printing.
 */
export function inView(seen: () => void): Attachment {
  return (node) => {
    const once = () => {
      stop();
      seen();
    };
    const observer = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && once(), {
      rootMargin: '600px 0px',
    });
    const print = () => flushSync(once);
    const stop = () => {
      observer.disconnect();
      later.delete(once);
      removeEventListener('beforeprint', print);
    };
    observer.observe(node);
    addEventListener('beforeprint', print);
    later.add(once);
    if (later.size === 1) rest();
    return stop;
  };
}

const later = new Set<() => void>();
const PAUSE = 60; // ms between two panels that nobody waits for

/** One of what waits, whenever the page is idle, until nothing is left. */
function rest(): void {
  const next = () => {
    const [first] = later;
    first?.();
    if (later.size) rest();
  };
  setTimeout(() => ('requestIdleCallback' in window ? requestIdleCallback(next, { timeout: 4000 }) : next()), PAUSE);
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
