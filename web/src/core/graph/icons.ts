// Small marks on boxes, drawn as lines so that no font has to have them.
import type { Repeat } from './model';

type Context = Pick<CanvasRenderingContext2D, 'beginPath' | 'moveTo' | 'lineTo' | 'arc' | 'stroke' | 'fill' | 'closePath' | 'lineWidth' | 'lineCap' | 'lineJoin'>;

/** A triangle that points right (closed) or down (open), around (x, y). */
export function chevron(c: Context, x: number, y: number, open: boolean, size = 4): void {
  c.lineWidth = 1.6;
  c.lineCap = c.lineJoin = 'round';
  c.beginPath();
  if (open) {
    c.moveTo(x - size, y - size / 2);
    c.lineTo(x, y + size / 2);
    c.lineTo(x + size, y - size / 2);
  } else {
    c.moveTo(x - size / 2, y - size);
    c.lineTo(x + size / 2, y);
    c.lineTo(x - size / 2, y + size);
  }
  c.stroke();
}

/** How a folded block repeats: one after the other (a chain), side by side (bars), again and again (a circle). */
export function repeatMark(c: Context, x: number, y: number, repeat: Repeat): void {
  c.lineWidth = 1.4;
  c.lineCap = c.lineJoin = 'round';
  c.beginPath();
  if (repeat === 'parallel') {
    for (const dx of [-4, 0, 4]) {
      c.moveTo(x + dx, y - 4);
      c.lineTo(x + dx, y + 4);
    }
  } else if (repeat === 'recurrence') {
    c.arc(x, y, 4.4, -0.9, 4.4);
    c.moveTo(x - 0.4, y - 6.6);
    c.lineTo(x + 2.8, y - 3.4);
    c.lineTo(x + 3.9, y - 7);
  } else {
    for (const dy of [-4.5, 0.5]) {
      c.moveTo(x - 3.6, y + dy);
      c.lineTo(x, y + dy + 3.6);
      c.lineTo(x + 3.6, y + dy);
    }
  }
  c.stroke();
}

/** A warning: a filled triangle (something was assumed) or circle (an error) with its sign. */
export function alarm(c: CanvasRenderingContext2D, x: number, y: number, kind: 'error' | 'assumed', fill: string, ink: string, font: string): void {
  c.fillStyle = fill;
  c.beginPath();
  if (kind === 'error') c.arc(x, y, 8, 0, 7);
  else {
    c.moveTo(x, y - 8.5);
    c.lineTo(x + 8.5, y + 6.5);
    c.lineTo(x - 8.5, y + 6.5);
    c.closePath();
  }
  c.fill();
  c.fillStyle = ink;
  c.font = `700 11px ${font}`;
  c.textAlign = 'center';
  c.textBaseline = 'middle';
  c.fillText('!', x, y + (kind === 'error' ? 0.5 : 1.5));
}
