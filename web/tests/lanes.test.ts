// Series below their strips: nothing is lost to few pixels, and cells lie on the steps that they stand for.
import { expect, test } from 'vitest';
import { boundsOf, peaks, placeOf, pointsOf, readLane, stepsOf, type Lanes } from '../src/core/lanes';

const wave = (n: number) => Float64Array.from({ length: n }, (_, i) => Math.sin(i / 7) + (i === 613 ? 9 : 0) - (i === 1201 ? 5 : 0));

test('every column of pixels keeps the least and greatest value of its steps', () => {
  const lanes: Lanes = { data: [...wave(2000), ...wave(2000).map((v) => -v)], channels: 2, count: 2000, kinds: 1 };
  for (const channel of [0, 1]) {
    const found = pointsOf(lanes, channel, 100);
    const values = found.map(([, v]) => v);
    const all = Array.from(lanes.data).slice(2000 * channel, 2000 * (channel + 1));
    expect(Math.max(...values)).toBe(Math.max(...all));
    expect(Math.min(...values)).toBe(Math.min(...all));
    for (let k = 0; k < 100; k++) {
      const inside = found.filter(([x]) => Math.floor(x * 100) === k).map(([, v]) => v);
      const steps = all.slice(20 * k, 20 * (k + 1));
      expect([Math.min(...inside), Math.max(...inside)]).toEqual([Math.min(...steps), Math.max(...steps)]);
    }
  }
});

test('few steps are drawn one by one, in the middle of each', () => {
  const found = pointsOf({ data: [3, 1, 2], channels: 1, count: 3, kinds: 1 }, 0, 600);
  expect(found.map(([, v]) => v)).toEqual([3, 1, 2]);
  found.forEach(([x], i) => expect(x).toBeCloseTo((i + 0.5) / 3, 12));
});

test('stretches have two values, and bounds are those of a channel in all examples', () => {
  const one: Lanes = { data: [0, 4, 1, 2, 10, 11, 12, 13], channels: 2, count: 2, kinds: 2 };
  const two: Lanes = { data: [-1, 0, 0, 1, 5, 6, 6, 7], channels: 2, count: 2, kinds: 2 };
  expect(boundsOf([one, two])).toEqual([[-1, 4], [5, 13]]);
  expect(readLane(one, 0, 0.2)).toEqual([0, 4]);
  expect(readLane(one, 1, 1)).toEqual([12, 13]);
});

test('cells tile the series, or lie where the method put them', () => {
  expect(placeOf(5, 20, null)).toEqual({ start: 0, width: 0.2 });
  expect(stepsOf(1, 5, 20, null)).toBe('steps 4 to 7');
  expect(stepsOf(7, 20, 20, null)).toBe('step 7');
  expect(placeOf(3, 32, [8, 8])).toEqual({ start: 0.125, width: 0.25 });
  expect(stepsOf(0, 3, 32, [8, 8])).toBe('steps 4 to 11');
  // 49 cells of 200 steps: each step belongs to one cell
  const seen = Array.from({ length: 49 }, (_, i) => stepsOf(i, 49, 200, null).match(/\d+/g)!.map(Number));
  expect(seen[0][0]).toBe(0);
  expect(seen.at(-1)!.at(-1)).toBe(199);
  seen.slice(1).forEach((steps, i) => expect(steps[0]).toBe(seen[i].at(-1)! + 1));
});

test('of cells closer than pixels the strongest is shown', () => {
  const data = wave(2000);
  const found = peaks(data, 50);
  expect(found.length).toBe(50);
  for (let k = 0; k < 50; k++) {
    const steps = [...data.slice(40 * k, 40 * (k + 1))];
    expect(Math.abs(found[k])).toBe(Math.max(...steps.map(Math.abs)));
  }
  expect([...(peaks([1, NaN, 2, 3], 2) as Float64Array)]).toEqual([NaN, 3]);
  expect(peaks(data, 4000)).toBe(data);
});
