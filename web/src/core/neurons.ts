// Where neurons and lines are, and which of a wide layer are shown: the same rules as the figure's.

export const SIZE = { pitch: 28, radius: 9, head: 40, column: 170, left: 150 };
const FAINT = 0.02;

export type Mode = 'weights' | 'flow';
export interface Layer {
  layer: { name: string; names: string[] | null; after: { shape: number[] } };
  after: ArrayLike<number>; weights: ArrayLike<number> | null;
}
export interface Column {
  name: string; names: string[] | null; values: number[]; peak: number; shown: number[]; y: number[]; hidden: number; x: number;
  weights: ArrayLike<number> | null; width: number;
}
export interface Line { from: number; to: number; value: number; share: number; path: string }

const size = (v: number) => (Number.isFinite(v) ? Math.abs(v) : 0);

/** The largest weight that leaves each neuron of a layer of `width`. */
function outgoing(weights: ArrayLike<number>, width: number): number[] {
  const out = new Array<number>(width).fill(0);
  for (let i = 0; i < weights.length; i++) out[i % width] = Math.max(out[i % width], size(weights[i]));
  return out;
}

/** The neurons that send most on, |activation| x largest weight; all where there is room. */
function chosen(values: number[], weights: ArrayLike<number> | null, most: number): number[] {
  const all = values.map((_, i) => i);
  if (values.length <= most) return all;
  const heavy = weights ? outgoing(weights, values.length) : values.map(() => 1);
  const strength = values.map((v, i) => size(v) * heavy[i]);
  return all.sort((a, b) => strength[b] - strength[a] || a - b).slice(0, most).sort((a, b) => a - b);
}

export function columnsOf(layers: Layer[], item: number, most: number): Column[] {
  const columns = layers.map(({ layer, after, weights }, l): Column => {
    const width = layer.after.shape[1];
    const values = Array.from({ length: width }, (_, i) => after[item * width + i]);
    const shown = chosen(values, layers[l + 1]?.weights ?? null, most);
    const peak = Math.max(...values.map(size)) || 1;
    return { name: layer.name, names: layer.names, values, peak, shown, y: [], hidden: width - shown.length, x: SIZE.left + SIZE.column * l, weights, width };
  });
  const rows = (c: Column) => c.shown.length + (c.hidden ? 1.2 : 0);
  const middle = SIZE.head + (SIZE.pitch * Math.max(...columns.map(rows))) / 2;
  for (const c of columns) c.y = c.shown.map((_, k) => middle - (SIZE.pitch * (rows(c) - 1)) / 2 + SIZE.pitch * k);
  return columns;
}

/** Lines between the neurons shown of two columns, thin ones first; the thinnest are left out. */
export function linesOf(one: Column, other: Column, mode: Mode): Line[] {
  if (!other.weights) return [];
  const lines: Line[] = [];
  other.shown.forEach((to, row) => one.shown.forEach((from, k) => {
    const weight = other.weights![to * one.width + from];
    const value = mode === 'flow' ? weight * one.values[from] : weight;
    const [x, y, u, v] = [one.x + SIZE.radius, one.y[k], other.x - SIZE.radius, other.y[row]];
    const middle = (x + u) / 2;
    lines.push({ from, to, value: Number.isFinite(value) ? value : 0, share: 0, path: `M${x} ${y}C${middle} ${y} ${middle} ${v} ${u} ${v}` });
  }));
  const peak = Math.max(0, ...lines.map((l) => size(l.value)));
  for (const line of lines) line.share = peak ? size(line.value) / peak : 0;
  return lines.filter((l) => l.share >= FAINT).sort((a, b) => a.share - b.share);
}
