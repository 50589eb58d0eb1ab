// Series as lanes: least and greatest value for each column of pixels, exact, whatever the width.

/** The series of an example: `channels` × `count` stretches of the input, each with its least and greatest value. */
export interface Lanes { data: ArrayLike<number>; channels: number; count: number; kinds: number }

export const MOST = 64;

/** Least and greatest value of each channel over all examples, so that a channel has one scale. */
export function boundsOf(all: Lanes[]): [number, number][] {
  const out: [number, number][] = [];
  for (const { data, channels, count, kinds } of all) {
    for (let c = 0; c < channels; c++) {
      const bounds = (out[c] ??= [Infinity, -Infinity]);
      for (let i = c * count * kinds; i < (c + 1) * count * kinds; i++) {
        if (data[i] < bounds[0]) bounds[0] = data[i];
        if (data[i] > bounds[1]) bounds[1] = data[i];
      }
    }
  }
  return out;
}

/** Height of a lane in pixels: less where there are many. */
export function laneHeight(channels: number): number {
  return Math.min(72, Math.max(9, Math.round(320 / Math.max(channels, 1))));
}

/** Points (x from 0 to 1, value) of a channel for `columns` columns of pixels, least and greatest of each where points are closer. */
export function pointsOf({ data, count, kinds }: Lanes, channel: number, columns: number): [number, number][] {
  const start = channel * count * kinds;
  const cells = Math.min(count, Math.max(1, columns));
  const out: [number, number][] = [];
  for (let k = 0; k < cells; k++) {
    const from = start + Math.floor((k * count) / cells) * kinds;
    const to = start + Math.floor(((k + 1) * count) / cells) * kinds;
    let low = from;
    let high = from;
    for (let i = from + 1; i < to; i++) {
      if (data[i] < data[low]) low = i;
      if (data[i] > data[high]) high = i;
    }
    const x = (k + 0.5) / cells;
    if (low === high) out.push([x, data[low]]);
    else out.push([x, data[Math.min(low, high)]], [x, data[Math.max(low, high)]]);
  }
  return out;
}

/** What a channel was at `x` from 0 to 1: least and greatest value of the stretch. */
export function readLane({ data, count, kinds }: Lanes, channel: number, x: number): [number, number] {
  const i = (channel * count + Math.min(Math.floor(x * count), count - 1)) * kinds;
  return [data[i], data[i + kinds - 1]];
}

/** Where cells of a map lie on a series of `length` steps, as shares of it: start of the first one, and width of each. */
export function placeOf(cells: number, length: number, center: [number, number] | null): { start: number; width: number } {
  const [first, step] = center ?? [length / cells / 2, length / cells];
  return { start: (first - step / 2) / length, width: step / length };
}

/** At most `most` cells, each the value of greatest magnitude of those that it stands for; NaN where one of them is. */
export function peaks(data: ArrayLike<number>, most: number): ArrayLike<number> {
  if (data.length <= most) return data;
  const out = new Float64Array(most);
  for (let k = 0; k < most; k++) {
    let best = 0;
    for (let i = Math.floor((k * data.length) / most); i < Math.floor(((k + 1) * data.length) / most); i++) {
      if (Number.isNaN(data[i])) { best = NaN; break; }
      if (Math.abs(data[i]) > Math.abs(best)) best = data[i];
    }
    out[k] = best;
  }
  return out;
}

/** The first and last step that cell `at` of `cells` stands for, in words. */
export function stepsOf(at: number, cells: number, length: number, center: [number, number] | null): string {
  const { start, width } = placeOf(cells, length, center);
  const first = Math.max(0, Math.ceil((start + at * width) * length - 1e-9));
  const last = Math.min(length - 1, Math.ceil((start + (at + 1) * width) * length - 1e-9) - 1);
  return last > first ? `steps ${first} to ${last}` : `step ${first}`;
}
