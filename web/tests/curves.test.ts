// Curves against plain loops over all points.
import { describe, expect, test } from 'vitest';
import { clock, duration, xTicks } from '../src/core/axes';
import { ascending, countBelow, countMissing, envelope, extentOf, gaussianAt, movingAverage, nearestOf, upperBound, wantsLog } from '../src/core/curves';
import { drawn, fitted, type Frame } from '../src/core/drawing';

let state = 1;
function random(): number {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
}
function series(count: number, bad = 0.05): { xs: number[]; values: number[] } {
  const xs: number[] = [];
  let x = 0;
  for (let i = 0; i < count; i++) xs.push((x += Math.floor(random() * 3)));
  const values = xs.map(() => (random() < bad ? [NaN, Infinity, -Infinity][Math.floor(random() * 3)] : random() * 10 - 5));
  return { xs, values };
}

describe('envelope', () => {
  test('is exact at any zoom', () => {
    for (let round = 0; round < 200; round++) {
      const { xs, values } = series(1 + Math.floor(random() * 80));
      const start = Math.floor(random() * 40);
      const end = start + 2 ** Math.floor(random() * 7);
      const buckets = 2 ** Math.floor(random() * 5);
      const found = envelope(xs, values, 0, xs.length, start, end, buckets);
      const plain = new Map<number, number[]>();
      xs.forEach((x, i) => {
        if (x < start || x > end) return;
        const b = Math.min(Math.floor(((x - start) / (end - start)) * buckets), buckets - 1);
        plain.set(b, [...(plain.get(b) ?? []), values[i]]);
      });
      expect(found.at).toEqual([...plain.keys()]);
      [...plain.values()].forEach((seen, i) => {
        const finite = seen.filter(Number.isFinite);
        expect(found.missing[i]).toBe(seen.length - finite.length);
        expect(found.low[i]).toBe(finite.length ? Math.min(...finite) : NaN);
        expect(found.high[i]).toBe(finite.length ? Math.max(...finite) : NaN);
        if (finite.length) expect(found.mean[i]).toBeCloseTo(finite.reduce((a, b) => a + b, 0) / finite.length, 9);
      });
    }
  });
  test('does not lose one spike in a million points', () => {
    const values = new Float32Array(1_000_000);
    values[654_321] = 99;
    const xs = Float64Array.from(values, (_, i) => i);
    const found = envelope(xs, values, 0, xs.length, 0, 999_999, 600);
    expect(Math.max(...found.high)).toBe(99);
    expect(found.at[found.high.indexOf(99)]).toBe(Math.floor((654_321 / 999_999) * 600));
  });
  test('on a logarithmic axis what is not positive is below it, and not missing', () => {
    expect(envelope([0, 1, 2, 3], [1, -1, 0, NaN], 0, 4, 0, 3, 1, true)).toEqual({ at: [0], low: [1], high: [1], mean: [1], missing: [1], below: [2] });
    expect(envelope([0, 1], [1, 0], 0, 2, 0, 1, 1).below).toEqual([0]);
    expect(countBelow([0, -0, -2, 3, NaN, -Infinity])).toEqual({ zero: 2, negative: 1 });
  });
});

describe('smoothing', () => {
  test('the moving average weighs all points since the last gap', () => {
    for (const weight of [0, 0.6, 0.97]) {
      const { values } = series(60, 0.1);
      const found = movingAverage(values, weight);
      values.forEach((v, i) => {
        if (!Number.isFinite(v)) return expect(found[i]).toBeNaN();
        let sum = 0;
        let total = 0;
        for (let j = i; j >= 0 && Number.isFinite(values[j]); j--) {
          sum += weight ** (i - j) * values[j];
          total += weight ** (i - j);
        }
        expect(found[i]).toBeCloseTo(sum / total, 9);
      });
    }
  });
  test('a Gaussian stays within its stretch', () => {
    const values = [1, 1, NaN, 5, 5, 5, Infinity, 9];
    expect(values.map((_, i) => Number(gaussianAt(values, i, 2).toPrecision(12)))).toEqual([1, 1, NaN, 5, 5, 5, NaN, 9]);
    const e = Math.exp(-0.5);
    expect(gaussianAt([0, 1, 0], 1, 1 / 3)).toBeCloseTo(1 / (1 + 2 * Math.exp(-4.5)), 12);
    expect(gaussianAt([0, 3], 0, 1)).toBeCloseTo((3 * e) / (1 + e), 12);
  });
});

test('a series that is logged rarely is smoothed over as many steps, not as many points', () => {
  expect(fitted({ kind: 'average', weight: 0.99 }, 500, 1000).weight).toBeCloseTo(0.98, 12);
  expect(fitted({ kind: 'average', weight: 0.95 }, 50, 3000)).toEqual({ kind: 'none', weight: 0 });
});

describe('a run that was started again', () => {
  const xs = [0, 1, 2, 3, 2, 3, 4];
  const values = [9, 8, 7, 6, 1, 2, 3];
  const parts = ascending(xs);
  test('has a part for each start, and is read where it is valid', () => {
    expect(parts).toEqual([[0, 4], [4, 7]]);
    expect(nearestOf({ xs, parts }, 3)).toBe(5);
    expect(nearestOf({ xs, parts }, 0.2)).toBe(0);
    expect(extentOf([{ xs, values, parts }], false, 2, 3)).toEqual({ low: 1 - 0.24, high: 7 + 0.24 });
  });
  test('draws what is no longer valid fainter', () => {
    const frame: Frame = { x: (v) => v, y: (v) => v, start: 0, end: 4, left: 0, width: 100, log: false };
    const out = drawn({ name: 'a', unit: '', xs, values, parts, missing: 0, colour: '' }, frame, { kind: 'none', weight: 0 }, 50);
    expect(out.faint).toBe('M0.0 9.0L1.0 8.0L2.0 7.0L3.0 6.0');
    expect(out.line).toBe('M2.0 1.0L3.0 2.0L4.0 3.0');
  });
});

test('a line breaks at a gap, in points and in columns, smoothed or not', () => {
  const xs = Array.from({ length: 5000 }, (_, i) => i);
  const values = xs.map((i) => (i >= 2000 && i < 2100 ? NaN : 1));
  const curve = { name: 'a', unit: '', xs, values, parts: ascending(xs), missing: countMissing(values), colour: '' };
  for (const width of [10_000, 100]) {
    for (const kind of ['none', 'average', 'gaussian'] as const) {
      const frame: Frame = { x: (v) => (v / 5000) * width, y: (v) => v, start: 0, end: 4999, left: 0, width, log: false };
      const out = drawn(curve, frame, { kind, weight: 0.9 }, 50);
      expect(out.line.match(/M/g)).toHaveLength(2);
      expect(out.gaps.match(/M/g)!.length).toBe(width > 5000 ? 100 : 2);
    }
  }
});

test('on a logarithmic axis zeros are marked at its lower edge, and only there', () => {
  const xs = Array.from({ length: 5000 }, (_, i) => i);
  const values = xs.map((i) => (i >= 2000 && i < 2100 ? 0 : i === 4000 ? NaN : 1));
  const curve = { name: 'a', unit: '', xs, values, parts: ascending(xs), missing: countMissing(values), colour: '' };
  for (const width of [10_000, 100]) {
    const frame: Frame = { x: (v) => (v / 5000) * width, y: (v) => v, start: 0, end: 4999, left: 0, width, log: true };
    const out = drawn(curve, frame, { kind: 'none', weight: 0 }, 50);
    expect(out.below.match(/M/g)!.length).toBe(width > 5000 ? 100 : 2);
    expect(out.below).toMatch(/ 44\.0h7l-3\.5 6z$/); // the tip is on the floor
    expect(out.gaps.match(/M/g)).toHaveLength(1);
    expect(drawn(curve, { ...frame, log: false }, { kind: 'none', weight: 0 }, 50).below).toBe('');
  }
});

test('a curve with zeros wants a logarithmic axis where a linear one would hide it', () => {
  const falling = Array.from({ length: 60 }, (_, i) => 10 ** (-i / 10));
  const wants = (...curves: number[][]) => wantsLog(curves.map((values) => ({ values })));
  expect(wants([...falling, 0, 0, NaN])).toBe(true);
  expect(wants(falling)).toBe(true);
  expect(wants([...falling, 0, -1])).toBe(false);
  expect(wants([0, 0.0001, ...Array(40).fill(0.5)])).toBe(false); // all but two are well seen
  expect(wants([100, 101, 102], [0.3, 0.2, 0.2], [1, 1, 0])).toBe(true); // the norms of a training whose last step is zero
  expect(wants([3, 2, 1], [1, 1, 0])).toBe(false);
  expect(wants([0, 0])).toBe(false);
  expect(wants()).toBe(false);
});

test('bounds and extents', () => {
  expect(upperBound([1, 1, 2], 1)).toBe(2);
  expect(extentOf([{ xs: [0, 1], values: [NaN, Infinity], parts: [[0, 2]] }], false)).toBeNull();
  expect(extentOf([{ xs: [0, 1], values: [-1, 0], parts: [[0, 2]] }], true)).toBeNull();
});

test('times as a person reads them', () => {
  expect(duration(95)).toBe('95\u2009s');
  expect(duration(750)).toBe('12.5\u2009min');
  expect(duration(3600 * 3.2)).toBe('3.2\u2009h');
  expect(duration(86400 * 10)).toBe('10\u2009d');
  expect(xTicks('relative', 0, 3600, 4).map(([v]) => v)).toEqual([0, 900, 1800, 2700, 3600]);
  expect(clock(0, 100)).toMatch(/^\d\d:\d\d:00$/);
});
