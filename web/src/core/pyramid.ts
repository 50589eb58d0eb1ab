// A matrix at several resolutions: what a window of it looks like on a screen, so that no extreme is lost.
import type { Numbers } from './blobs';
import type { Scale } from './palette';
import { scaleOf } from './palette';

/** One level: cells (rows x columns), each the entry of largest magnitude of `down` x `across` entries. */
export interface Level { data: Numbers; rows: number; columns: number; down: number; across: number }
/** A window in entries. */
export interface Box { top: number; left: number; height: number; width: number }

const SPARE = 4; // cells per pixel that are looked through at most
const USUAL = 0.995;
const FAR = 3;

/** The finest level whose cells in the window are few enough to be drawn at once. */
export function levelFor(levels: Level[], box: Box, width: number, height: number): Level {
  for (let i = levels.length - 1; i > 0; i--) {
    const { down, across } = levels[i];
    if ((box.height / down) * (box.width / across) <= SPARE * width * height) return levels[i];
  }
  return levels[0];
}

/** The window on `width` x `height` pixels: each pixel the value of largest magnitude of all cells that it touches. */
export function windowOf(level: Level, box: Box, width: number, height: number): Float64Array {
  const out = new Float64Array(width * height);
  const ends = (length: number, start: number, size: number, step: number, cells: number): Int32Array => {
    const at = new Int32Array(2 * length);
    for (let i = 0; i < length; i++) {
      const first = Math.min(cells - 1, Math.max(0, Math.floor((start + (i * size) / length) / step)));
      const last = Math.min(cells, Math.ceil((start + ((i + 1) * size) / length) / step - 1e-9));
      at[2 * i] = first;
      at[2 * i + 1] = Math.max(first + 1, last);
    }
    return at;
  };
  const ys = ends(height, box.top, box.height, level.down, level.rows);
  const xs = ends(width, box.left, box.width, level.across, level.columns);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < width; x++, o++) {
      let found = level.data[ys[2 * y] * level.columns + xs[2 * x]];
      for (let r = ys[2 * y]; r < ys[2 * y + 1]; r++) {
        for (let c = xs[2 * x]; c < xs[2 * x + 1]; c++) {
          const value = level.data[r * level.columns + c];
          if (Math.abs(value) > Math.abs(found) || Number.isNaN(value)) found = value;
        }
      }
      out[o] = found;
    }
  }
  return out;
}

/** `box` moved and shrunk so that it lies within the matrix; never smaller than four entries a side. */
export function within(box: Box, rows: number, columns: number): Box {
  const height = Math.min(rows, Math.max(Math.min(4, rows), box.height));
  const width = Math.min(columns, Math.max(Math.min(4, columns), box.width));
  return {
    top: Math.min(Math.max(0, box.top), rows - height),
    left: Math.min(Math.max(0, box.left), columns - width),
    height, width,
  };
}

/** `box` larger (`factor` above 1) or smaller about a point of it, given by its parts (u, v) across and down. */
export function zoomed(box: Box, factor: number, u: number, v: number): Box {
  return {
    left: box.left + u * box.width * (1 - factor), top: box.top + v * box.height * (1 - factor),
    width: box.width * factor, height: box.height * factor,
  };
}

/** The colours' range: all values, and where a few cells lie far beyond the others (`usual`) only those. */
export function rangesOf(data: ArrayLike<number>): { whole: Scale; usual: Scale | null } {
  const known = Float64Array.from(data, Math.abs).filter(Number.isFinite).sort();
  const largest = known.length ? known[known.length - 1] : 0;
  const usual = known.length >= 400 ? known[Math.floor(USUAL * (known.length - 1))] : 0;
  return {
    whole: scaleOf(-largest, largest, true),
    usual: usual > 0 && largest > FAR * usual ? scaleOf(-usual, usual, true) : null,
  };
}

/** Places (row, column in entries) of cells twice beyond `scale`, the largest first, at most `most`. */
export function outliers(level: Level, scale: Scale, most: number): [number, number][] {
  const found: number[] = [];
  for (let i = 0; i < level.data.length; i++) {
    if (Math.abs(level.data[i]) > 2 * scale.high && Number.isFinite(level.data[i])) found.push(i);
  }
  found.sort((a, b) => Math.abs(level.data[b]) - Math.abs(level.data[a]));
  return found.slice(0, most).map((i) => [
    (Math.floor(i / level.columns) + 0.5) * level.down, ((i % level.columns) + 0.5) * level.across,
  ]);
}
