// Series as lines: gaps where a value is not finite, and few enough points to draw without losing a spike.

export interface Curve { name: string; unit: string; steps: ArrayLike<number>; values: ArrayLike<number> }
export interface Extent { low: number; high: number }

export function drawable(value: number, log: boolean): boolean {
  return Number.isFinite(value) && (!log || value > 0);
}

/** Range of all values that can be drawn, widened a little; null where there is none. */
export function extentOf(curves: Curve[], log: boolean): Extent | null {
  let low = Infinity;
  let high = -Infinity;
  for (const { values } of curves) {
    for (let i = 0; i < values.length; i++) {
      if (!drawable(values[i], log)) continue;
      low = Math.min(low, values[i]);
      high = Math.max(high, values[i]);
    }
  }
  if (low > high) return null;
  if (log) return low === high ? { low: low / 2, high: high * 2 } : { low: low / 1.1, high: high * 1.1 };
  const margin = (high - low) * 0.04 || Math.abs(high) * 0.1 || 1;
  return { low: low - margin, high: high + margin };
}

/** Whether all finite values are positive and reach over more than three powers of ten. */
export function spansDecades(curves: Curve[]): boolean {
  let low = Infinity;
  let high = 0;
  for (const { values } of curves) {
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i])) continue;
      low = Math.min(low, values[i]);
      high = Math.max(high, values[i]);
    }
  }
  return low > 0 && high > 1000 * low;
}

/** Indices to draw: all of them, or the first, last, smallest and largest of each of `buckets` and every gap. */
export function thinned(values: ArrayLike<number>, buckets: number): number[] {
  const count = values.length;
  if (count <= 4 * buckets) return Array.from({ length: count }, (_, i) => i);
  const out: number[] = [];
  for (let b = 0; b < buckets; b++) {
    const start = Math.floor((b * count) / buckets);
    const end = Math.floor(((b + 1) * count) / buckets);
    const keep = new Set([start, end - 1]);
    let low = start;
    let high = start;
    for (let i = start; i < end; i++) {
      if (!Number.isFinite(values[i])) keep.add(i);
      if (!(values[i] >= values[low])) low = i;
      if (!(values[i] <= values[high])) high = i;
    }
    out.push(...[...keep.add(low).add(high)].sort((a, c) => a - c));
  }
  return out;
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

/** Index of the step nearest to `step`; steps ascend. */
export function nearestIndex(steps: ArrayLike<number>, step: number): number {
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && Math.abs(steps[low - 1] - step) <= Math.abs(steps[low] - step) ? low - 1 : low;
}
