// Series of a panel as numbers, decoded once, with the axes that they have.
import { loadArray, loadText } from './blobs';
import type { AxisKind } from './axes';
import { num, type ArrayRef, type AxisRef, type HistoryPanel, type HistorySeries, type Num } from './contract';
import { ascending, countMissing, type Line } from './curves';

export interface Loaded {
  name: string; run: string; group: string; unit: string;
  values: Line; missing: number; axes: Partial<Record<AxisKind, Line>>; parts: Partial<Record<AxisKind, [number, number][]>>;
}

/** Series that are there for others to be held against: the curvature that an optimizer bears, the size of the batch. */
export function isLimit(name: string): boolean {
  return /(^|\/)((preconditioned_)?curvature\/limit|noise_scale\/batch)$/.test(name);
}

/** Where the studio is asked for series that its document lacks. */
let curves = '';
export function askForCurves(address: string): void {
  curves = address;
}

/** The series that are not in the document, by name only. */
export async function namedOnly(panel: HistoryPanel): Promise<HistorySeries[]> {
  if (!panel.more) return [];
  const runs = JSON.parse(await loadText(panel.more.names.blob)) as [string, string[]][];
  return runs.flatMap(([run, names]) => names.map((name) => ({
    asked: true, name, run, group: groupOf(name), unit: '', steps: { first: 0, step: 1, count: 0 }, values: NONE, times: null, epochs: null, samples: null,
  })));
}
const NONE: ArrayRef = { blob: -1, dtype: 'f8', shape: [0] };
const groupOf = (name: string) => name.slice(0, Math.max(0, name.lastIndexOf('/'))) || name;

async function asked(series: HistorySeries, start: number | undefined): Promise<Loaded> {
  const answer = await fetch(`${curves}?run=${encodeURIComponent(series.run)}&name=${encodeURIComponent(series.name)}`);
  if (!answer.ok) throw new Error(`the studio answered ${answer.status}`);
  const found = (await answer.json()) as { steps: number[]; values: Num[]; times: number[] };
  const values = Float64Array.from(found.values, num);
  const axes: Loaded['axes'] = { step: found.steps };
  if (found.times.length) {
    axes.relative = Float64Array.from(found.times, (t) => t - (start ?? found.times[0]));
    axes.wall = found.times;
  }
  const { name, run, group, unit } = series;
  return { name, run, group, unit, values, missing: countMissing(values), axes, parts: {} };
}

async function axis(ref: AxisRef): Promise<Line> {
  if (!('count' in ref)) return (await loadArray(ref)).data;
  const out = new Float64Array(ref.count);
  for (let i = 0; i < ref.count; i++) out[i] = ref.first + ref.step * i;
  return out;
}

/** `start` is when the run began, from which relative times count; without it the series' own first time. */
export async function loadSeries(series: HistorySeries, known?: number): Promise<Loaded> {
  if (series.asked) return asked(series, known);
  const start = known ?? series.times?.origin ?? 0;
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

export interface Group { key: string; title: string; series: number[] }

/** Most lines of one chart; of a larger group several charts are made. */
const LINES = 32;

/** Series that share axes, by their places; a series without a group has axes of its own. */
export function groupsOf(all: HistorySeries[]): Group[] {
  const out = new Map<string, Group>();
  all.forEach((series, i) => {
    const key = series.group ? `group ${series.group}` : `series ${series.name}`;
    const found = out.get(key);
    if (found) found.series.push(i);
    else out.set(key, { key, title: series.group || series.name, series: [i] });
  });
  return [...out.values()];
}

/** The groups in which all `words` occur. Groups of very many lines are cut: to the series that fit, and to several charts. */
export function searched(groups: Group[], all: HistorySeries[], words: string[]): Group[] {
  const has = (text: string) => { const lower = text.toLowerCase(); return words.every((w) => lower.includes(w)); };
  return groups.flatMap((group) => {
    const whole = !words.length || has(group.title);
    if (!whole && !group.series.some((i) => has(all[i].name))) return [];
    const names = new Set(group.series.map((i) => all[i].name));
    if (names.size <= LINES) return [group];
    const kept = whole ? [...names] : [...names].filter(has);
    const charts = Math.ceil(kept.length / LINES);
    const at = new Map(kept.map((name, k) => [name, Math.floor(k / LINES)]));
    const cut: Group[] = Array.from({ length: charts }, (_, k) => ({ key: `${group.key} ${k}`, title: charts > 1 ? `${group.title} (${k + 1} of ${charts})` : group.title, series: [] }));
    for (const i of group.series) {
      const k = at.get(all[i].name);
      if (k !== undefined) cut[k].series.push(i);
    }
    return cut;
  });
}
