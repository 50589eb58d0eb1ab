// Series as lines: exact minima and maxima of what is in view, gaps where a value is not finite.

import type { Spread } from './spread';

export type Line = ArrayLike<number>;
/** A series as it is drawn: `xs` on the chosen axis, `parts` in which they ascend (a restarted run goes back); several runs
 * together have a `spread`, the values are its mean. */
export interface Curve {
  name: string; unit: string; xs: Line; values: Line; parts: [number, number][]; missing: number;
  colour: string; dash?: string; spread?: Spread;
}
export interface Extent { low: number; high: number }
/** Columns of a view: number of the column, least, greatest and mean finite value, how many values are not finite, and how many
 * of the finite ones are too low for a logarithmic axis, being zero or negative. */
export interface Envelope { at: number[]; low: number[]; high: number[]; mean: number[]; missing: number[]; below: number[] }

export function drawable(value: number, log: boolean): boolean {
  return Number.isFinite(value) && (!log || value > 0);
}

/** Index ranges in which `xs` never falls. */
export function ascending(xs: Line): [number, number][] {
  const out: [number, number][] = [];
  let start = 0;
  for (let i = 1; i < xs.length; i++) {
    if (xs[i] < xs[i - 1]) {
      out.push([start, i]);
      start = i;
    }
  }
  if (xs.length) out.push([start, xs.length]);
  return out;
}

export function countMissing(values: Line): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) count++;
  return count;
}

/** How many values lie below a logarithmic axis: zeros, and numbers less than that. */
export function countBelow(values: Line): { zero: number; negative: number } {
  const out = { zero: 0, negative: 0 };
  for (let i = 0; i < values.length; i++) {
    if (values[i] === 0) out.zero++;
    else if (values[i] < 0 && values[i] > -Infinity) out.negative++;
  }
  return out;
}

/** First index in [from, to) whose x is at least `x`. */
export function lowerBound(xs: Line, x: number, from = 0, to = xs.length): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** First index in [from, to) whose x is beyond `x`. */
export function upperBound(xs: Line, x: number, from = 0, to = xs.length): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Exact minimum, maximum and mean of every one of `buckets` equal parts of [start, end], over indices [from, to). */
export function envelope(xs: Line, values: Line, from: number, to: number, start: number, end: number, buckets: number, log = false): Envelope {
  const out: Envelope = { at: [], low: [], high: [], mean: [], missing: [], below: [] };
  const scale = end > start ? buckets / (end - start) : 0;
  let current = -1;
  let low = Infinity;
  let high = -Infinity;
  let sum = 0;
  let count = 0;
  let missing = 0;
  let below = 0;
  const close = () => {
    if (current < 0) return;
    out.at.push(current);
    out.low.push(count ? low : NaN);
    out.high.push(count ? high : NaN);
    out.mean.push(count ? sum / count : NaN);
    out.missing.push(missing);
    out.below.push(below);
  };
  const last = upperBound(xs, end, from, to);
  for (let i = lowerBound(xs, start, from, to); i < last; i++) {
    const bucket = Math.min(Math.floor((xs[i] - start) * scale), buckets - 1);
    if (bucket !== current) {
      close();
      current = bucket;
      low = Infinity;
      high = -Infinity;
      sum = count = missing = below = 0;
    }
    const v = values[i];
    if (v - v !== 0) { // NaN and infinity are the numbers whose difference with themselves is not 0
      missing++;
      continue;
    }
    if (log && v <= 0) {
      below++;
      continue;
    }
    if (v < low) low = v;
    if (v > high) high = v;
    sum += v;
    count++;
  }
  close();
  return out;
}

/** Range of all drawable values with x in [start, end], widened a little; null where there is none. */
export function extentOf(curves: { xs: Line; values: Line; parts: [number, number][] }[], log: boolean, start = -Infinity, end = Infinity): Extent | null {
  let low = Infinity;
  let high = -Infinity;
  for (const { xs, values, parts } of curves) {
    for (const [from, to] of parts) {
      const last = upperBound(xs, end, from, to);
      for (let i = lowerBound(xs, start, from, to); i < last; i++) {
        const v = values[i];
        if (v - v !== 0 || (log && v <= 0)) continue;
        if (v < low) low = v;
        if (v > high) high = v;
      }
    }
  }
  return low > high ? null : widened(low, high, log);
}

export function widened(low: number, high: number, log: boolean): Extent {
  if (log) return low === high ? { low: low / 2, high: high * 2 } : { low: low / 1.1, high: high * 1.1 };
  const margin = (high - low) * 0.04 || Math.abs(high) * 0.1 || 1;
  return { low: low - margin, high: high + margin };
}

/** Factor over which values are far apart, as in figures. */
const FAR = 200;

/** Whether all finite values are positive and far apart. */
export function spansDecades(curves: { values: Line }[]): boolean {
  let low = Infinity;
  let high = 0;
  for (const { values } of curves) {
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v - v !== 0) continue;
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return low > 0 && high > FAR * low;
}

/** Whether a logarithmic axis is the readable one for all of them: their values are positive and far apart, or some are zero, none
 * negative, and a linear axis would hide a curve that has no zeros, or press much against zero. */
export function wantsLog(curves: { values: Line }[]): boolean {
  const { zero, negative } = curves.reduce((sum, { values }) => {
    const low = countBelow(values);
    return { zero: sum.zero + low.zero, negative: sum.negative + low.negative };
  }, { zero: 0, negative: 0 });
  if (negative || !zero) return !negative && spansDecades(curves);
  return curves.some((c) => spansDecades([c]) || pressed([c])) || pressed(curves);
}

/** Whether, zeros aside, values are far apart and a quarter of them is less than a fiftieth of the largest. */
function pressed(curves: { values: Line }[]): boolean {
  let [low, high, count, small] = [Infinity, 0, 0, 0];
  const positive = (visit: (v: number) => void) => {
    for (const { values } of curves) for (let i = 0; i < values.length; i++) if (values[i] > 0 && values[i] < Infinity) visit(values[i]);
  };
  positive((v) => { low = Math.min(low, v); high = Math.max(high, v); count++; });
  positive((v) => { if (v < high / 50) small++; });
  return high > FAR * low && small >= count / 4;
}

/** Exponential moving average without the bias of its start; begins anew after every value that is not finite. */
export function movingAverage(values: Line, weight: number): Float64Array {
  const out = new Float64Array(values.length);
  let mean = 0;
  let norm = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v - v !== 0) {
      mean = norm = 0;
      out[i] = NaN;
      continue;
    }
    mean = weight * mean + (1 - weight) * v;
    norm = weight * norm + (1 - weight);
    out[i] = mean / norm;
  }
  return out;
}

/** Gaussian average at index `i`, `sigma` in points, over neighbours within 3 sigma and within the same finite stretch. */
export function gaussianAt(values: Line, i: number, sigma: number): number {
  if (!Number.isFinite(values[i])) return NaN;
  const radius = Math.ceil(3 * sigma);
  let sum = values[i];
  let total = 1;
  for (const step of [-1, 1]) {
    for (let k = 1; k <= radius; k++) {
      const v = values[i + step * k]; // undefined beyond the ends, which is not finite either
      if (v - v !== 0 || v === undefined) break;
      const w = Math.exp(-0.5 * (k / sigma) ** 2);
      sum += w * v;
      total += w;
    }
  }
  return sum / total;
}

/** Powers of ten within [low, high], with 2 and 5 between them where there are few. */
export function logTicks(low: number, high: number): number[] {
  const from = Math.floor(Math.log10(low));
  const to = Math.ceil(Math.log10(high));
  const steps = Math.log10(high / low) <= 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((to - from) / 6));
  const out: number[] = [];
  for (let e = from; e <= to; e += every) for (const s of steps) out.push(Number((s * 10 ** e).toPrecision(6)));
  return out.filter((v) => v >= low && v <= high);
}

/** Index of the x nearest to `x` in [from, to), in which they ascend. */
export function nearestIndex(xs: Line, x: number, from = 0, to = xs.length): number {
  const i = Math.min(lowerBound(xs, x, from, to), to - 1);
  return i > from && Math.abs(xs[i - 1] - x) <= Math.abs(xs[i] - x) ? i - 1 : i;
}

/** Index nearest to `x` in any part; of equally near ones the last written, which a restarted run leaves valid. */
export function nearestOf(curve: { xs: Line; parts: [number, number][] }, x: number): number {
  let best = -1;
  for (const [from, to] of curve.parts) {
    const i = nearestIndex(curve.xs, x, from, to);
    if (best < 0 || Math.abs(curve.xs[i] - x) <= Math.abs(curve.xs[best] - x)) best = i;
  }
  return best;
}
