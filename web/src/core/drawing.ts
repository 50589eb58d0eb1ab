// Curves as paths of SVG: a line through few points, a band and its mean where points are closer than pixels.
import { envelope, gaussianAt, lowerBound, movingAverage, upperBound, type Curve, type Line } from './curves';
import { steady, type Spread } from './spread';

export type Smoothing = { kind: 'none' | 'average' | 'gaussian'; weight: number };
export interface Frame { x: (v: number) => number; y: (v: number) => number; start: number; end: number; left: number; width: number; log: boolean }
export interface Drawn { line: string; band: string; faint: string; dots: [number, number][]; gaps: string; below: string }

const f = (v: number) => v.toFixed(1);

/** How wide a Gaussian of the same reach as the moving average is, in points. */
export function sigmaOf(weight: number): number {
  return 0.5 / (1 - weight);
}

/** The smoothing of a series of `count` points beside one of `most`: over as much of the axis, so over fewer points. */
export function fitted(smoothing: Smoothing, count: number, most: number): Smoothing {
  const weight = 1 - ((1 - smoothing.weight) * most) / Math.max(count, 1);
  return weight > 0 ? { kind: smoothing.kind, weight } : { kind: 'none', weight: 0 };
}

const averages = new WeakMap<object, { weight: number; values: Float64Array }>();

/** The moving average of a series, computed once for each weight. */
export function averaged(values: Line, weight: number): Float64Array {
  const known = averages.get(values as object);
  if (known?.weight === weight) return known.values;
  const made = movingAverage(values, weight);
  averages.set(values as object, { weight, values: made });
  return made;
}

export function smoothAt(values: Line, i: number, smoothing: Smoothing): number {
  if (smoothing.kind === 'none') return values[i];
  return smoothing.kind === 'average' ? averaged(values, smoothing.weight)[i] : gaussianAt(values, i, sigmaOf(smoothing.weight));
}

/** A triangle at the lower edge that points to what is below it. */
const triangle = (x: number, floor: number) => `M${f(x - 3.5)} ${f(floor - 6)}h7l-3.5 6z`;

/** Everything of one curve within a frame; `floor` is where gaps, and what is below a logarithmic axis, are marked. */
export function drawn(curve: Curve, frame: Frame, smoothing: Smoothing, floor: number): Drawn {
  const out: Drawn = { line: '', band: '', faint: '', dots: [], gaps: '', below: '' };
  const smooth = smoothing.kind !== 'none' && smoothing.weight > 0;
  if (curve.spread) return together(curve, curve.spread, frame, smooth ? smoothing : null, floor);
  curve.parts.forEach(([from, to], p) => {
    const raw = part(curve.xs, curve.values, from, to, frame);
    out.band += raw.band;
    out.gaps += raw.gaps.map((x) => `M${f(x)} ${floor + 1}l0 5`).join('');
    out.below += raw.below.map((x) => triangle(x, floor)).join('');
    // what a restarted run wrote before it went back is no longer valid
    const old = p < curve.parts.length - 1;
    if (smooth) {
      out.faint += raw.line;
      const made = smoothed(curve, from, to, frame, smoothing);
      if (old) out.faint += made;
      else out.line += made;
    } else if (old) out.faint += raw.line;
    else out.line += raw.line;
    if (!smooth) out.dots.push(...raw.dots);
  });
  return out;
}

/** Mean and range of several runs. The line is broken where the number of runs changes, and faint where it is not all. */
function together(curve: Curve, spread: Spread, frame: Frame, smoothing: Smoothing | null, floor: number): Drawn {
  const out: Drawn = { line: '', band: '', faint: '', dots: [], gaps: '', below: '' };
  let before = NaN;
  for (const at of spread.gaps) {
    const x = frame.x(at);
    if (at < frame.start || at > frame.end || Math.abs(x - before) < 0.5) continue;
    out.gaps += `M${f(x)} ${floor + 1}l0 5`;
    before = x;
  }
  for (const [from, to] of steady(spread.count)) {
    if (spread.xs[to - 1] < frame.start || spread.xs[from] > frame.end) continue;
    const raw = part(spread.xs, spread.mean, from, to, frame);
    const own = { ...curve, xs: spread.xs.subarray(from, to), values: spread.mean.subarray(from, to) };
    const line = smoothing ? smoothed(own, 0, to - from, frame, smoothing) : raw.line;
    if (spread.count[from] === spread.total) out.line += line;
    else out.faint += line;
    if (to - from === 1) out.dots.push(...raw.dots);
    out.below += raw.below.map((at) => triangle(at, floor)).join('');
    out.band += bandOf(spread, from, to, frame, floor);
  }
  return out;
}

function bandOf(spread: Spread, from: number, to: number, frame: Frame, floor: number): string {
  const { xs, low, high } = spread;
  const first = Math.max(from, lowerBound(xs, frame.start, from, to) - 1);
  const last = Math.min(to, upperBound(xs, frame.end, from, to) + 1);
  let path = '';
  let upper = '';
  let lower: string[] = [];
  const close = () => {
    if (lower.length > 1) path += `${upper}${lower.reverse().join('')}Z`;
    upper = '';
    lower = [];
  };
  const put = (x: number, a: number, b: number) => {
    if (!(b - a >= 0) || (frame.log && b <= 0)) return close();
    upper += `${upper ? 'L' : 'M'}${f(x)} ${f(frame.y(b))}`;
    lower.push(`L${f(x)} ${f(frame.log && a <= 0 ? floor : frame.y(a))}`);
  };
  if (last - first <= 2 * frame.width) {
    for (let i = first; i < last; i++) put(frame.x(xs[i]), low[i], high[i]);
  } else {
    const buckets = Math.floor(frame.width);
    const under = envelope(xs, low, from, to, frame.start, frame.end, buckets);
    const over = envelope(xs, high, from, to, frame.start, frame.end, buckets, frame.log);
    under.at.forEach((at, i) => put(frame.left + (at + 0.5) * (frame.width / buckets), under.low[i], over.high[i]));
  }
  close();
  return path;
}

interface Part { line: string; band: string; dots: [number, number][]; gaps: number[]; below: number[] }

function part(xs: Line, values: Line, from: number, to: number, frame: Frame): Part {
  const first = Math.max(from, lowerBound(xs, frame.start, from, to) - 1);
  const last = Math.min(to, upperBound(xs, frame.end, from, to) + 1);
  return last - first <= 2 * frame.width ? points(xs, values, first, last, frame) : columns(xs, values, from, to, frame);
}

function points(xs: Line, values: Line, first: number, last: number, frame: Frame): Part {
  const out: Part = { line: '', band: '', dots: [], gaps: [], below: [] };
  const sparse = last - first <= 40;
  let length = 0;
  let at: [number, number] = [0, 0];
  const close = () => { if (length === 1 && !sparse) out.dots.push(at); length = 0; };
  for (let i = first; i < last; i++) {
    const v = values[i];
    if (v - v !== 0 || (frame.log && v <= 0)) {
      close();
      if (xs[i] >= frame.start && xs[i] <= frame.end) (v - v !== 0 ? out.gaps : out.below).push(frame.x(xs[i]));
      continue;
    }
    at = [frame.x(xs[i]), frame.y(v)];
    if (sparse) out.dots.push(at);
    out.line += `${length ? 'L' : 'M'}${f(at[0])} ${f(at[1])}`;
    length++;
  }
  close();
  return out;
}

function columns(xs: Line, values: Line, from: number, to: number, frame: Frame): Part {
  const out: Part = { line: '', band: '', dots: [], gaps: [], below: [] };
  const found = envelope(xs, values, from, to, frame.start, frame.end, Math.floor(frame.width), frame.log);
  const step = frame.width / Math.floor(frame.width);
  let upper = '';
  let lower: string[] = [];
  const close = () => {
    if (upper) out.band += `${upper}${lower.reverse().join('')}Z`;
    upper = '';
    lower = [];
  };
  for (let i = 0; i < found.at.length; i++) {
    const x = frame.left + (found.at[i] + 0.5) * step;
    if (found.missing[i]) out.gaps.push(x);
    if (found.below[i]) out.below.push(x);
    if (Number.isNaN(found.mean[i])) {
      close();
      continue;
    }
    const go = upper ? 'L' : 'M';
    out.line += `${go}${f(x)} ${f(frame.y(found.mean[i]))}`;
    upper += `${go}${f(x)} ${f(frame.y(found.high[i]))}`;
    lower.push(`L${f(x)} ${f(frame.y(found.low[i]))}`);
    if (found.missing[i]) close();
  }
  close();
  return out;
}

function smoothed(curve: Curve, from: number, to: number, frame: Frame, smoothing: Smoothing): string {
  const { xs, values } = curve;
  if (smoothing.kind === 'average') return part(xs, averaged(values, smoothing.weight), from, to, frame).line;
  const sigma = sigmaOf(smoothing.weight);
  const first = Math.max(from, lowerBound(xs, frame.start, from, to) - 1);
  const last = Math.min(to, upperBound(xs, frame.end, from, to) + 1);
  const stride = Math.max(1, Math.ceil((last - first) / (2 * frame.width)));
  let path = '';
  let open = false;
  for (let i = first; i < last; i += stride) {
    const v = gaussianAt(values, i, sigma);
    if (v - v !== 0 || (frame.log && v <= 0)) {
      open = false;
      continue;
    }
    if (curve.missing && open && gapBetween(values, i - stride, i)) open = false;
    path += `${open ? 'L' : 'M'}${f(frame.x(xs[i]))} ${f(frame.y(v))}`;
    open = true;
  }
  return path;
}

function gapBetween(values: Line, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (!Number.isFinite(values[i])) return true;
  return false;
}
