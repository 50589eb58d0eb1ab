// Maps to pixels. Interpolation follows Attribution.resized: bilinear between cell centres, where the method put them.
import { along, paletteOf, type Scale } from './palette';

export interface Grid { data: ArrayLike<number>; rows: number; columns: number }
/** For each of rows and columns: centre of the first cell and distance of cells in input pixels; and the input's size. */
export interface Placement { size: [number, number]; centers: [number, number][] | null }

/** Position of every pixel along one axis, in cells, clamped to the outermost centres. */
export function positions(cells: number, length: number, size: number, center: [number, number] | null): Float64Array {
  const [first, step] = center ?? [size / cells / 2, size / cells];
  const out = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    const p = (((i + 0.5) * size) / length - first) / step;
    out[i] = Math.min(Math.max(p, 0), cells - 1);
  }
  return out;
}

/** The cell that a pixel belongs to: the one with the nearest centre. */
export function cellAt(position: number): number {
  return Math.floor(position + 0.5);
}

export function resample(grid: Grid, where: Placement, rows: number, columns: number, smooth: boolean): Float32Array {
  const ys = positions(grid.rows, rows, where.size[0], where.centers?.[0] ?? null);
  const xs = positions(grid.columns, columns, where.size[1], where.centers?.[1] ?? null);
  return smooth ? bilinear(grid, ys, xs) : nearest(grid, ys, xs);
}

function nearest(grid: Grid, ys: Float64Array, xs: Float64Array): Float32Array {
  const out = new Float32Array(ys.length * xs.length);
  for (let y = 0, o = 0; y < ys.length; y++) {
    const row = cellAt(ys[y]) * grid.columns;
    for (let x = 0; x < xs.length; x++) out[o++] = grid.data[row + cellAt(xs[x])];
  }
  return out;
}

function bilinear(grid: Grid, ys: Float64Array, xs: Float64Array): Float32Array {
  const { data, columns } = grid;
  const out = new Float32Array(ys.length * xs.length);
  for (let y = 0, o = 0; y < ys.length; y++) {
    const top = Math.min(Math.floor(ys[y]), Math.max(grid.rows - 2, 0));
    const v = ys[y] - top;
    const a = top * columns;
    const b = Math.min(top + 1, grid.rows - 1) * columns;
    for (let x = 0; x < xs.length; x++) {
      const left = Math.min(Math.floor(xs[x]), Math.max(columns - 2, 0));
      const u = xs[x] - left;
      const right = Math.min(left + 1, columns - 1);
      out[o++] = mix(mix(data[a + left], data[a + right], u), mix(data[b + left], data[b + right], u), v);
    }
  }
  return out;
}

/** Linear mix that does not let a NaN or infinity of weight 0 in. */
function mix(a: number, b: number, share: number): number {
  return share === 0 ? a : share === 1 ? b : a + (b - a) * share;
}

export type Alpha = 'solid' | 'by magnitude';

/** Colours of `values`; NaN is a grey hatch. `by magnitude`: the weaker a value, the more of what lies below shows. */
export function colours(values: ArrayLike<number>, columns: number, scale: Scale, alpha: Alpha): ImageData {
  const rows = values.length / columns;
  const out = new ImageData(columns, rows);
  const palette = paletteOf(scale);
  const zero = scale.signed ? 0.5 : along(0, scale);
  const reach = Math.max(zero, 1 - zero);
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    const value = values[i];
    if (Number.isNaN(value)) {
      const on = ((i % columns) + Math.floor(i / columns)) % 6 < 2;
      out.data.set(on ? [128, 128, 128, 255] : [128, 128, 128, 70], o);
      continue;
    }
    const t = along(value, scale);
    const c = 3 * Math.round(t * 255);
    out.data[o] = palette[c];
    out.data[o + 1] = palette[c + 1];
    out.data[o + 2] = palette[c + 2];
    const weak = 1 - Math.abs(t - zero) / reach;
    out.data[o + 3] = alpha === 'solid' ? 255 : 255 * (1 - weak * weak);
  }
  return out;
}

export function toCanvas(pixels: ImageData): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext('2d')!.putImageData(pixels, 0, 0);
  return canvas;
}

/** The picture in grey, so that colours laid over it are only the map's. */
export function greyed(image: ImageBitmap): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height);
  const d = pixels.data;
  for (let i = 0; i < d.length; i += 4) d[i] = d[i + 1] = d[i + 2] = 0.299 * d[i] + 0.587 * d[i + 1] + 0.114 * d[i + 2];
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Segments of the line where `values` crosses `level`: marching squares between pixel centres. */
export function contour(values: ArrayLike<number>, columns: number, level: number): Float32Array {
  const rows = values.length / columns;
  const out: number[] = [];
  for (let y = 0; y < rows - 1; y++) {
    for (let x = 0; x < columns - 1; x++) {
      const i = y * columns + x;
      const corners = [values[i], values[i + 1], values[i + columns + 1], values[i + columns]];
      const points: number[] = [];
      for (let e = 0; e < 4; e++) {
        const a = corners[e];
        const b = corners[(e + 1) % 4];
        if (a >= level === b >= level || Number.isNaN(a + b)) continue;
        const s = (level - a) / (b - a);
        const edge = [[x + s, y], [x + 1, y + s], [x + 1 - s, y + 1], [x, y + 1 - s]][e];
        points.push(edge[0] + 0.5, edge[1] + 0.5);
      }
      for (let p = 0; p + 3 < points.length; p += 4) out.push(points[p], points[p + 1], points[p + 2], points[p + 3]);
    }
  }
  return Float32Array.from(out);
}

/** Largest magnitude and where it is; -1 where no value is finite. */
export function peakOf(data: ArrayLike<number>): { index: number; value: number } {
  let index = -1;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i]) && (index < 0 || Math.abs(data[i]) > Math.abs(data[index]))) index = i;
  }
  return { index, value: index < 0 ? NaN : data[index] };
}
