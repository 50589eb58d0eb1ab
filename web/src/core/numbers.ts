// Numbers as text: about four digits, real minus signs, thin spaces between thousands.

const THIN = '\u2009';
const MINUS = '\u2212';
const SUPER = '⁰¹²³⁴⁵⁶⁷⁸⁹';

function signed(text: string): string {
  return text.replace('-', MINUS);
}

/** `digits` significant digits; powers of ten where that is shorter to read. */
export function format(value: number, digits = 4): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : `${MINUS}∞`;
  if (value === 0) return '0';
  const magnitude = Math.abs(value);
  if (Number.isInteger(value) && magnitude < 1e7) return whole(value);
  if (magnitude >= 1e5 || magnitude < 1e-3) return power(value, digits);
  const text = value.toPrecision(digits);
  return text.includes('e') ? whole(Number(text)) : signed(trimmed(text));
}

function trimmed(text: string): string {
  return text.includes('.') && !text.includes('e') ? text.replace(/\.?0+$/, '') : text;
}

function power(value: number, digits: number): string {
  const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
  const raised = exponent.replace('+', '').replace('-', '⁻').replace(/\d/g, (d) => SUPER[Number(d)]);
  const shown = signed(trimmed(mantissa));
  return Math.abs(Number(trimmed(mantissa))) === 1 ? `${shown.slice(0, -1)}10${raised}` : `${shown}·10${raised}`;
}

/** A power of ten beside others on an axis: from 10 000 on, and below 0.001, all are written alike. */
export function decade(value: number): string {
  return value >= 1e4 ? power(value, 3) : format(value, 3);
}

/** A whole number with its thousands apart. */
export function whole(value: number): string {
  return signed(Math.round(value).toString()).replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
}

/** How many there are of something: 1 rule, 23 rules. */
export function counted(count: number, word: string): string {
  return `${whole(count)} ${word}${count === 1 ? '' : 's'}`;
}

const PREFIXES: [number, string][] = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

/** A large count in three digits, or as many as are asked for: 25.6 M, 4.1 G. */
export function short(value: number, digits = 3): string {
  for (const [size, prefix] of PREFIXES) {
    if (Math.abs(value) >= size) return `${signed(trimmed((value / size).toPrecision(digits)))}${THIN}${prefix}`;
  }
  return format(value, digits);
}

/** Seconds as people say them: 45 s, 12 min, 3 h 20 min, 2 d 4 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 100) return `${whole(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes in three digits, or as many as are asked for. */
export function bytes(value: number, digits = 3): string {
  return value < 1000 ? `${whole(value)} B` : `${short(value, digits)}B`;
}

/** A value with its unit: 490 MB for bytes, 0.0125 s. */
export function measured(value: number, unit: string): string {
  if (unit === 'bytes' && Number.isFinite(value)) return bytes(value);
  return unit ? `${format(value)}${THIN}${unit}` : format(value);
}

export function percent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${signed((100 * share).toFixed(digits))}${THIN}%` : format(share);
}

export function shape(sizes: number[] | null): string {
  return sizes === null ? '' : sizes.length ? sizes.join(' × ') : 'scalar';
}

/** Round numbers that divide [low, high] into about `count` parts. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const base = 10 ** Math.floor(Math.log10(raw));
  const steps = [1, 2, 5, 10].map((m) => m * base);
  const at = Math.max(0, steps.findIndex((s) => s >= raw * 0.999));
  const holds = (step: number) => Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  // one number alone gives no scale: where two were asked for, a finer step has to have them
  const step = count > 1 && holds(steps[at]) < 2 ? (at > 0 ? steps[at - 1] : base / 2) : steps[at];
  if (step < 1e-12 * Math.max(Math.abs(low), Math.abs(high))) return [low]; // closer than numbers can be told apart
  const out: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(Number((i * step).toPrecision(12)));
  return out;
}

/** A name in at most `most` characters, cut in the middle, where names differ least. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const tail = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - tail)}…${text.slice(text.length - tail)}`;
}

/** How many digits tell each of `marks` from the next: three at least. */
export function digitsOf(marks: number[]): number {
  if (marks.length < 2) return 3;
  const most = Math.max(...marks.map(Math.abs));
  const step = Math.min(...marks.slice(1).map((v, i) => Math.abs(v - marks[i])));
  return step > 0 ? Math.min(15, Math.max(3, 1 + Math.floor(Math.log10(most) + 1e-9) - Math.floor(Math.log10(step) + 1e-9))) : 3;
}

/** A text in which no line ends between a number and its unit. */
export function unbroken(text: string): string {
  return text.replace(/(\d) (?=(?:%|‰|[kMGT]?B|[mµn]?s|min|h|x)(?![\p{L}\d]))/gu, '$1\u00a0');
}
