// Layers by steps as colours: which scale fits a quantity, and cells as pixels.
import { DIVERGING, SEQUENTIAL, type Palette } from './palette';

/** Cells (rows, columns); `state` 0 not recorded, 1 there, 2 NaN or infinite. */
export interface Cells { values: ArrayLike<number>; state: ArrayLike<number>; rows: number; columns: number }
/** The steps at which anything was recorded: a quantity that is looked at every tenth step has no use for the others. */
export function recordedOnly(steps: ArrayLike<number>, cells: Cells): { steps: Float64Array; cells: Cells } {
  const kept: number[] = [];
  for (let c = 0; c < cells.columns; c++) {
    for (let r = 0; r < cells.rows; r++) if (cells.state[r * cells.columns + c]) { kept.push(c); break; }
  }
  const values = new Float64Array(cells.rows * kept.length);
  const state = new Uint8Array(cells.rows * kept.length);
  for (let r = 0; r < cells.rows; r++) {
    kept.forEach((c, i) => {
      values[r * kept.length + i] = cells.values[r * cells.columns + c];
      state[r * kept.length + i] = cells.state[r * cells.columns + c];
    });
  }
  return { steps: Float64Array.from(kept, (c) => steps[c]), cells: { values, state, rows: cells.rows, columns: kept.length } };
}

/** From values to 0..1 of a palette; `low` and `high` are where colours end, `turn` makes the axis. */
export interface HeatScale { low: number; high: number; log: boolean; palette: Palette; under: boolean; over: boolean }

/** Updates of about a thousandth of the weights are what a healthy training makes. */
export const HEALTHY_RATIO = 1e-3;

function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.round(share * (sorted.length - 1))];
}

/** The range that colours span: robust against the outermost percent, logarithmic where values reach over more than 30-fold. */
export function heatScale(name: string, unit: string, cells: Cells): HeatScale | null {
  const found: number[] = [];
  const every = Math.max(1, Math.floor(cells.values.length / 200_000));
  for (let i = 0; i < cells.values.length; i += every) if (cells.state[i] && Number.isFinite(cells.values[i])) found.push(cells.values[i]);
  if (!found.length) return null;
  const all = Float64Array.from(found).sort();
  const [least, most] = [all[0], all[all.length - 1]];
  const robust = all.length > 200 ? 0.01 : 0;
  const ends = (values: Float64Array) => [percentile(values, robust), percentile(values, 1 - robust)];
  if (/update.*ratio/.test(name)) {
    return { low: HEALTHY_RATIO / 100, high: HEALTHY_RATIO * 100, log: true, palette: DIVERGING, under: least < HEALTHY_RATIO / 100, over: most > HEALTHY_RATIO * 100 };
  }
  if (unit === 'share') {
    const high = Math.max(0.05, Math.min(1, ends(all)[1]));
    return { low: 0, high, log: false, palette: SEQUENTIAL, under: false, over: most > high };
  }
  if (least < 0) {
    const reach = Math.max(...ends(all).map(Math.abs)) || 1;
    return { low: -reach, high: reach, log: false, palette: DIVERGING, under: least < -reach, over: most > reach };
  }
  const positive = all.filter((v) => v > 0);
  const [low, high] = ends(positive.length ? positive : all);
  if (positive.length && high > 30 * low) return { low, high, log: true, palette: SEQUENTIAL, under: least < low, over: most > high };
  return { low: 0, high: high || 1, log: false, palette: SEQUENTIAL, under: false, over: most > (high || 1) };
}

/** Where a value lies between 0 and 1 of the scale. */
export function alongHeat(value: number, scale: HeatScale): number {
  const turn = scale.log ? Math.log : (v: number) => v;
  if (scale.log && value <= 0) return 0;
  const t = (turn(value) - turn(scale.low)) / (turn(scale.high) - turn(scale.low));
  return t < 0 ? 0 : t > 1 ? 1 : t;
}

export function heatCss(t: number, palette: Palette): string {
  const c = 3 * Math.round(t * 255);
  return `rgb(${palette[c]},${palette[c + 1]},${palette[c + 2]})`;
}

/** For each pixel of one axis the range of cells that it covers. */
function cover(pixels: number, cells: number): [number, number][] {
  return Array.from({ length: pixels }, (_, i) => {
    const from = Math.floor((i * cells) / pixels);
    return [from, Math.max(from + 1, Math.ceil(((i + 1) * cells) / pixels))];
  });
}

/** Chosen `rows` of cells as pixels: the largest value where a pixel covers several, NaN hatched, not recorded left clear. */
export function heatPixels(cells: Cells, rows: number[], scale: HeatScale, width: number, height: number): ImageData {
  const out = new ImageData(width, height);
  const across = cover(width, cells.columns);
  const band = cover(height, rows.length);
  const gap = height / rows.length >= 16 ? 1 : 0; // between thin rows it would take the picture over
  for (let y = 0; y < height; y++) {
    const [top] = band[y];
    if (gap && y > 0 && band[y - 1][0] !== top) continue; // a hair between rows
    const start = rows[top] * cells.columns;
    for (let x = 0; x < width; x++) {
      let value = -Infinity;
      let state = 0;
      for (let c = across[x][0]; c < across[x][1]; c++) {
        state = Math.max(state, cells.state[start + c]);
        if (cells.values[start + c] > value) value = cells.values[start + c];
      }
      const o = 4 * (y * width + x);
      if (state === 2) {
        const on = (x + y) % 6 < 2;
        out.data.set(on ? [200, 40, 30, 255] : [128, 128, 128, 90], o);
      } else if (state === 1) {
        const c = 3 * Math.round(alongHeat(value, scale) * 255);
        out.data.set([scale.palette[c], scale.palette[c + 1], scale.palette[c + 2], 255], o);
      }
    }
  }
  return out;
}

/** Where `value` lies on an axis that gives every bucket between `edges` the same width. */
export function bucketPosition(edges: number[], value: number): number {
  if (value <= edges[0]) return 0;
  for (let i = 0; i + 1 < edges.length; i++) {
    if (value <= edges[i + 1]) return i + (edges[i + 1] > edges[i] ? (value - edges[i]) / (edges[i + 1] - edges[i]) : 0.5);
  }
  return edges.length - 1;
}

/** Powers of ten of both signs, and 0, that lie within the edges. */
export function decadeTicks(edges: number[]): number[] {
  const reach = Math.max(...edges.map(Math.abs));
  if (!(reach > 0)) return [0];
  const least = Math.min(...edges.filter((e) => e !== 0).map(Math.abs));
  const out = [0];
  for (let e = Math.floor(Math.log10(reach)); e >= Math.ceil(Math.log10(least)) && out.length < 60; e--) out.push(10 ** e, -(10 ** e));
  return out.filter((v) => v >= edges[0] && v <= edges[edges.length - 1]).sort((a, b) => Math.abs(b) - Math.abs(a));
}
