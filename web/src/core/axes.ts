// The horizontal axis of a chart: steps, epochs, samples, or time.
import { format, ticks } from './numbers';

export type AxisKind = 'step' | 'epoch' | 'samples' | 'relative' | 'wall';

export const AXES: [AxisKind, string][] = [['step', 'Step'], ['epoch', 'Epoch'], ['samples', 'Samples'], ['relative', 'Time'], ['wall', 'Clock']];

/** Seconds in words that a person would use: 95 s, 12.5 min, 3.2 h, 2.1 d. */
export function duration(seconds: number, digits = 3): string {
  const size = Math.abs(seconds);
  for (const [unit, length] of [['d', 172800], ['h', 7200], ['min', 180]] as const) {
    const one = { d: 86400, h: 3600, min: 60 }[unit];
    if (size >= length) return `${format(Number((seconds / one).toPrecision(digits)), digits)}\u2009${unit}`;
  }
  return `${format(Number(seconds.toPrecision(digits)), digits)}\u2009s`;
}

export function clock(seconds: number, span = 0): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return format(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (span > 172800) return `${two(date.getDate())}.${two(date.getMonth() + 1)}. ${time}`;
  return span && span < 600 ? `${time}:${two(date.getSeconds())}` : time;
}

export function readX(kind: AxisKind, name: string, x: number): string {
  if (kind === 'relative') return `after ${duration(x, 4)}`;
  if (kind === 'wall') return new Date(x * 1000).toISOString().slice(0, 19).replace('T', ' ') + ' UTC';
  return `${kind === 'step' ? name : kind} ${format(x, 6)}`;
}

/** Round places on the axis and their texts. */
export function xTicks(kind: AxisKind, low: number, high: number, count: number): [number, string][] {
  if (!(high > low)) return Number.isFinite(low) ? [[low, kind === 'wall' ? clock(low) : format(low)]] : [];
  if (kind === 'step' || kind === 'epoch' || kind === 'samples') return ticks(low, high, count).map((v) => [v, short(v)]);
  const step = timeStep((high - low) / count);
  const shift = kind === 'wall' ? new Date(low * 1000).getTimezoneOffset() * 60 : 0;
  const out: [number, string][] = [];
  for (let v = Math.ceil((low - shift) / step) * step + shift; v <= high; v += step) {
    out.push([v, kind === 'wall' ? clock(v, high - low) : v === 0 ? '0' : duration(v)]);
  }
  return out;
}

function short(v: number): string {
  return Math.abs(v) >= 1e6 ? `${format(v / 1e6)}\u2009M` : format(v, 6);
}

const ROUND = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function timeStep(wanted: number): number {
  if (wanted < 1) {
    const base = 10 ** Math.floor(Math.log10(wanted));
    return ([1, 2, 5, 10].find((m) => m * base >= wanted) ?? 10) * base;
  }
  return ROUND.find((s) => s >= wanted) ?? Math.ceil(wanted / 86400) * 86400;
}
