// Runs together: mean and range of those that have a value, across no gap.
import { expect, test } from 'vitest';
import { drawn, type Frame } from '../src/core/drawing';
import { spreadOf, steady, valid } from '../src/core/spread';

const line = (xs: number[], values: number[]) => ({ xs, values });

test('places of all runs, values on the line between neighbours, never beyond an end or beside a gap', () => {
  const found = spreadOf([line([0, 10, 20, 30], [1, NaN, 1, 1]), line([0, 5, 20], [3, 3, 6])]);
  expect([...found.xs]).toEqual([0, 5, 10, 20, 30]);
  expect([...found.count]).toEqual([2, 1, 1, 2, 1]);
  expect([...found.mean]).toEqual([2, 3, 4, 3.5, 1]);
  expect([...found.low]).toEqual([1, 3, 4, 1, 1]);
  expect([...found.high]).toEqual([3, 3, 4, 6, 1]);
  expect([...found.gaps]).toEqual([10]);
  expect(found.total).toBe(2);
});

test('quartiles are those of type 7', () => {
  const found = spreadOf([4, 1, 3, 2].map((v) => line([0], [v])), true);
  expect([found.low[0], found.high[0], found.mean[0]]).toEqual([1.75, 3.25, 2.5]);
});

test('of a run that went back the later points count, and the last of equal steps', () => {
  const found = valid([0, 1, 2, 3, 2, 2, 3], [0, 1, 2, 3, 20, 21, 30]);
  expect([...found.xs]).toEqual([0, 1, 2, 3]);
  expect([...found.values]).toEqual([0, 1, 21, 30]);
});

test('a plain loop agrees', () => {
  let state = 7;
  const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  const runs = [30, 21, 0, 1].map((n) => {
    let x = 0;
    const xs = Array.from({ length: n }, () => (x += 1 + Math.floor(random() * 3)));
    return line(xs, xs.map(() => (random() < 0.15 ? Infinity : random())));
  });
  const found = spreadOf(runs);
  found.xs.forEach((x, p) => {
    const there: number[] = [];
    for (const { xs, values } of runs) {
      for (let i = 0; i < xs.length; i++) {
        if (xs[i] === x && Number.isFinite(values[i])) there.push(values[i]);
        else if (xs[i] < x && x < xs[i + 1] && Number.isFinite(values[i]) && Number.isFinite(values[i + 1])) {
          there.push(values[i] + ((x - xs[i]) / (xs[i + 1] - xs[i])) * (values[i + 1] - values[i]));
        }
      }
    }
    expect(found.count[p]).toBe(there.length);
    expect(found.low[p]).toBe(there.length ? Math.min(...there) : NaN);
    expect(found.high[p]).toBe(there.length ? Math.max(...there) : NaN);
    if (there.length) expect(found.mean[p]).toBeCloseTo(there.reduce((a, b) => a + b) / there.length, 12);
  });
});

test('no line joins means of different numbers of runs; fewer are fainter', () => {
  const spread = spreadOf([line([0, 10, 20, 30], [1, 1, 1, 1]), line([0, 10], [3, 3])]);
  expect(steady(spread.count)).toEqual([[0, 2], [2, 4]]);
  const frame: Frame = { x: (v) => v, y: (v) => -v, start: 0, end: 30, left: 0, width: 30, log: false };
  const curve = { name: '', unit: '', xs: spread.xs, values: spread.mean, parts: [[0, 4]] as [number, number][], missing: 0, colour: '', spread };
  const found = drawn(curve, frame, { kind: 'none', weight: 0 }, 0);
  expect(found.line).toBe('M0.0 -2.0L10.0 -2.0');
  expect(found.faint).toBe('M20.0 -1.0L30.0 -1.0');
  expect(found.band).toBe('M0.0 -3.0L10.0 -3.0L10.0 -1.0L0.0 -1.0ZM20.0 -1.0L30.0 -1.0L30.0 -1.0L20.0 -1.0Z');
});

test('on a logarithmic axis a band reaches down to its edge where a run is zero', () => {
  const xs = [0, 1, 2];
  const members = [{ xs, values: [4, 0, 4] }, { xs, values: [2, 2, 2] }];
  const spread = spreadOf(members);
  const frame: Frame = { x: (v) => v, y: (v) => -Math.log2(v), start: 0, end: 2, left: 0, width: 30, log: true };
  const out = drawn({ name: 'a', unit: '', xs: spread.xs, values: spread.mean, parts: [[0, 3]], missing: 0, colour: '', spread }, frame, { kind: 'none', weight: 0 }, 50);
  expect(out.band).toBe('M0.0 -2.0L1.0 -1.0L2.0 -2.0L2.0 -1.0L1.0 50.0L0.0 -1.0Z');
  expect(out.below).toBe('');
});
