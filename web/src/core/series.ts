// Series of a panel as numbers, decoded once, with the axes that they have.
import { loadArray } from './blobs';
import type { AxisKind } from './axes';
import type { AxisRef, HistorySeries } from './contract';
import { ascending, countMissing, type Line } from './curves';

export interface Loaded {
  name: string; run: string; group: string; unit: string;
  values: Line; missing: number; axes: Partial<Record<AxisKind, Line>>; parts: Partial<Record<AxisKind, [number, number][]>>;
}

/** Series that are there for others to be held against: the curvature that an optimizer bears, the size of the batch. */
export function isLimit(name: string): boolean {
  return /(^|\/)((preconditioned_)?curvature\/limit|noise_scale\/batch)$/.test(name);
}

async function axis(ref: AxisRef): Promise<Line> {
  if (!('count' in ref)) return (await loadArray(ref)).data;
  const out = new Float64Array(ref.count);
  for (let i = 0; i < ref.count; i++) out[i] = ref.first + ref.step * i;
  return out;
}

/** `start` is when the run began, from which relative times count; without it the series' own first time. */
export async function loadSeries(series: HistorySeries, start = series.times?.origin ?? 0): Promise<Loaded> {
  const [steps, values, offsets, epochs, samples] = await Promise.all([
    axis(series.steps), loadArray(series.values), series.times && loadArray(series.times.offsets),
    series.epochs && axis(series.epochs), series.samples && axis(series.samples),
  ]);
  const axes: Loaded['axes'] = { step: steps };
  if (epochs) axes.epoch = epochs;
  if (samples) axes.samples = samples;
  if (offsets && series.times) {
    const origin = series.times.origin;
    axes.relative = Float64Array.from(offsets.data, (t) => origin - start + t);
    axes.wall = Float64Array.from(offsets.data, (t) => origin + t);
  }
  const { name, run, group, unit } = series;
  return { name, run, group, unit, values: values.data, missing: countMissing(values.data), axes, parts: {} };
}

/** Where the axis ascends, found once. */
export function partsOf(series: Loaded, kind: AxisKind): [number, number][] {
  return (series.parts[kind] ??= ascending(series.axes[kind] ?? []));
}
