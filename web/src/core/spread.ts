// Several runs together: mean and range at every place of the axis, of those runs that have a value there.
import type { Line } from './curves';

/** At `xs` the mean and the range of `count` out of `total` runs; `gaps` are places at which a run was not finite. */
export interface Spread {
  xs: Float64Array; mean: Float64Array; low: Float64Array; high: Float64Array; count: Uint16Array;
  total: number; gaps: Float64Array; stride: number;
}

/** Places times runs that are looked at; where there are more, every second, third … place is. */
const MOST = 2_000_000;

/** What counts of a run: a point is void when a later one stands at the same place or before it. */
export function valid(xs: Line, values: Line): { xs: Float64Array; values: Float64Array } {
  const kept: number[] = [];
  let later = Infinity;
  for (let i = xs.length - 1; i >= 0; i--) {
    if (!(xs[i] < later)) continue;
    later = xs[i];
    if (Number.isFinite(later)) kept.push(i);
  }
  kept.reverse();
  return { xs: Float64Array.from(kept, (i) => xs[i]), values: Float64Array.from(kept, (i) => values[i]) };
}

function unique(parts: Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  all.sort();
  let n = 0;
  for (let i = 0; i < all.length; i++) if (!n || all[i] !== all[n - 1]) all[n++] = all[i];
  return all.subarray(0, n);
}

/** `xs` ascend strictly. On the line between neighbours; NaN beyond the ends and beside a gap. */
function valuesAt(places: Float64Array, xs: Float64Array, values: Float64Array): Float64Array {
  const out = new Float64Array(places.length).fill(NaN);
  const last = xs.length - 1;
  for (let p = 0, i = 0; p < places.length; p++) {
    const x = places[p];
    if (last < 0 || x < xs[0] || x > xs[last]) continue;
    while (i < last && xs[i + 1] <= x) i++;
    const v = xs[i] === x ? values[i] : values[i] + ((x - xs[i]) / (xs[i + 1] - xs[i])) * (values[i + 1] - values[i]);
    if (Number.isFinite(v)) out[p] = v;
  }
  return out;
}

function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const i = Math.floor(at);
  return at > i ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

/**
 * Mean and range of some runs at every place of any of them. A run has no value before its first point, after its last,
 * and between points one of which is not finite: nothing is carried on and no gap is crossed.
 */
export function spreadOf(members: { xs: Line; values: Line }[], quartiles = false): Spread {
  const lines = members.map((m) => valid(m.xs, m.values));
  const all = unique(lines.map((l) => l.xs));
  const stride = Math.max(1, Math.ceil((all.length * lines.length) / MOST));
  const xs = stride > 1 ? all.filter((_, i) => i % stride === 0) : all;
  const table = lines.map((l) => valuesAt(xs, l.xs, l.values));
  const [mean, low, high] = [new Float64Array(xs.length), new Float64Array(xs.length), new Float64Array(xs.length)];
  const count = new Uint16Array(xs.length);
  const column = new Float64Array(lines.length);
  for (let p = 0; p < xs.length; p++) {
    let n = 0;
    let sum = 0;
    for (const row of table) {
      const v = row[p];
      if (v !== v) continue;
      column[n++] = v;
      sum += v;
    }
    count[p] = n;
    const found = column.subarray(0, n);
    if (quartiles) found.sort();
    mean[p] = n ? sum / n : NaN;
    low[p] = n ? (quartiles ? quantile(found, 0.25) : Math.min(...found)) : NaN;
    high[p] = n ? (quartiles ? quantile(found, 0.75) : Math.max(...found)) : NaN;
  }
  const gaps = unique(lines.map((l) => l.xs.filter((_, i) => !Number.isFinite(l.values[i]))));
  return { xs, mean, low, high, count, total: lines.length, gaps, stride };
}

/** Index ranges in which the same number of runs has a value, and at least one has. */
export function steady(count: ArrayLike<number>): [number, number][] {
  const out: [number, number][] = [];
  for (let i = 0; i < count.length;) {
    let end = i + 1;
    while (end < count.length && count[end] === count[i]) end++;
    if (count[i]) out.push([i, end]);
    i = end;
  }
  return out;
}
