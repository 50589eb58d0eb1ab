// Pictures of weight tensors: filters side by side, in colour where a filter sees red, green and blue.
import type { Decoded } from './blobs';
import { scaleOf, type Scale } from './palette';
import { colours, peakOf } from './raster';

export interface Sheet { pixels: ImageData; read: (y: number, x: number) => Place | null; colour: boolean; shown: number; of: number; corner?: (filter: number) => [number, number] | null; tile?: [number, number] }
export interface Place { value: number; values?: number[]; where: string; filter?: number }

const GAP = 1;
const MOST = 4096; // tiles of one sheet: more can't be told apart on a screen

/** A scale symmetric around 0 that reaches the largest magnitude of `data`. */
export function around(data: ArrayLike<number>): Scale {
  const peak = Math.abs(peakOf(data).value);
  return scaleOf(-peak, peak, true);
}

/** Filters (F, C, h, w): one tile each in colour where C is 3, else filters down and channels across.
 *  `own`: every tile spans its own values. `order` says which filter comes first, `numbers` what each is called. */
export function filterSheet({ data, shape }: Decoded, shared: Scale, own = false, order: number[] | null = null, numbers: number[] | null = null): Sheet {
  const [filters, channels, height, width] = shape;
  const colour = channels === 3;
  const across = colour || channels === 1 ? Math.min(filters, Math.ceil(Math.sqrt(filters * 2))) : channels;
  const shownFilters = colour || channels === 1 ? filters : Math.max(1, Math.min(filters, Math.floor(MOST / channels)));
  const down = colour || channels === 1 ? Math.ceil(filters / across) : shownFilters;
  const pixels = new ImageData(across * (width + GAP) - GAP, down * (height + GAP) - GAP);
  const index = (f: number, c: number, y: number, x: number) => ((f * channels + c) * height + y) * width + x;
  const tile = (row: number, column: number): [number, number] | null => {
    const turned = (f: number) => (order && f < order.length ? order[f] : f);
    if (!colour && channels > 1) return [turned(row), column];
    const f = row * across + column;
    return f < filters ? [turned(f), 0] : null;
  };
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      const found = tile(row, column);
      if (found) draw(...found, row * (height + GAP), column * (width + GAP));
    }
  }
  function draw(f: number, c: number, top: number, left: number): void {
    const start = index(f, c, 0, 0);
    const size = height * width;
    const scale = own ? around(data.subarray(start, start + size * (colour ? 3 : 1))) : shared;
    const drawn = colour ? null : colours(data.subarray(start, start + size), width, scale, 'solid');
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const o = 4 * ((top + y) * pixels.width + left + x);
        if (drawn) pixels.data.set(drawn.data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4), o);
        else {
          // 0 is mid-grey, the largest magnitude full or no light: signs and hues both stay readable
          for (let k = 0; k < 3; k++) pixels.data[o + k] = 127.5 + 127.5 * (data[index(f, k, y, x)] / scale.high);
          pixels.data[o + 3] = 255;
        }
      }
    }
  }
  const read = (py: number, px: number): Place | null => {
    const found = tile(Math.floor(py / (height + GAP)), Math.floor(px / (width + GAP)));
    const y = py % (height + GAP);
    const x = px % (width + GAP);
    if (!found || y >= height || x >= width) return null;
    const [f, c] = found;
    const at = `row ${y}, column ${x}`;
    if (colour) {
      const values = [0, 1, 2].map((k) => data[index(f, k, y, x)]);
      return { value: values[0], values, where: `filter ${numbers?.[f] ?? f}, ${at}`, filter: numbers?.[f] ?? f };
    }
    return { value: data[index(f, c, y, x)], where: `filter ${numbers?.[f] ?? f}, channel ${c}, ${at}`, filter: numbers?.[f] ?? f };
  };
  const corner = (f: number): [number, number] | null => {
    const found = order ? order.indexOf(f) : f;
    if (found < 0 || (!colour && channels > 1 && found >= down)) return null;
    const [row, column] = !colour && channels > 1 ? [found, 0] : [Math.floor(found / across), found % across];
    return [row * (height + GAP), column * (width + GAP)];
  };
  return { pixels, read, colour, shown: shownFilters, of: filters, corner, tile: [height, width] };
}

/** A matrix or vector as it is, one pixel for each entry; a vector in rows. */
export function matrixSheet({ data, shape }: Decoded, scale: Scale): Sheet {
  const vector = shape.length < 2;
  const columns = vector ? Math.max(1, Math.min(data.length, 128)) : shape[1];
  const rows = vector ? Math.max(1, Math.ceil(data.length / columns)) : shape[0];
  const filled = new Float64Array(rows * columns).fill(NaN);
  filled.set(data);
  const pixels = colours(filled, columns, scale, 'solid');
  pixels.data.fill(0, 4 * data.length); // what only fills the last row stays empty
  const read = (y: number, x: number): Place | null => {
    const i = y * columns + x;
    if (i >= data.length || x >= columns) return null;
    return { value: data[i], where: vector ? `entry ${i}` : `row ${y}, column ${x}` };
  };
  return { pixels, read, colour: false, shown: rows, of: rows };
}
