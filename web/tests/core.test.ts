// The page's arithmetic against slower, plainer formulas.
import { describe, expect, test } from 'vitest';
import { halves } from '../src/core/blobs';
import { logTicks, nearestIndex, spansDecades } from '../src/core/curves';
import { bytes, counted, decade, digitsOf, format, measured, percent, short, shortened, ticks, unbroken, whole } from '../src/core/numbers';
import { along, css, scaleOf } from '../src/core/palette';
import { contour, peakOf, positions, resample } from '../src/core/raster';
import { middle, readAt } from '../src/core/reading';

describe('interpolation', () => {
  const grid = { data: [0, 1, 2, 3, 4, 5], rows: 2, columns: 3 };
  const place = { size: [4, 6] as [number, number], centers: null };

  test('is exact at cell centres and clamps beyond the outermost', () => {
    // cells are 2 x 2 pixels, so pixel centres at 0.5 and 1.5 lie a quarter cell around the centre at 1
    const out = resample(grid, place, 4, 6, true);
    expect(out[0]).toBe(0);
    expect(out[1]).toBeCloseTo(0.25, 6);
    expect(out[2]).toBeCloseTo(0.75, 6);
    expect(out.at(-1)).toBe(5);
    expect(out[6]).toBeCloseTo(0.75, 6); // a quarter of the way to the row below, which is 3 more
  });
  test('puts cells where the method put them', () => {
    const p = positions(3, 8, 8, [2, 2]);
    expect([...p]).toEqual([0, 0, 0.25, 0.75, 1.25, 1.75, 2, 2]);
  });
  test('keeps a NaN to its neighbours', () => {
    const out = resample({ data: [NaN, 1, 1, 1], rows: 1, columns: 4 }, { size: [1, 8], centers: null }, 1, 8, true);
    expect([...out].map(Number.isNaN)).toEqual([true, true, true, false, false, false, false, false]);
  });
  test('raw cells have hard edges', () => {
    expect([...resample(grid, place, 2, 6, false)]).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
  });
  test('a reading is the raw value of the cell there, and finds its own middle', () => {
    for (let row = 0; row < 2; row++) {
      for (let column = 0; column < 3; column++) {
        const { v, u } = middle(grid, place, row, column);
        expect(readAt(grid, place, v, u).value).toBe(grid.data[row * 3 + column]);
      }
    }
  });
});

test('half precision: every field of the format', () => {
  const bits = Uint16Array.from([0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x3555]);
  const found = [...halves(bits)];
  expect(found.slice(0, 4)).toEqual([0, -0, 1, -2]);
  expect(found[4]).toBeCloseTo(5.960464477539063e-8, 15);
  expect(found[5]).toBeCloseTo(6.097555160522461e-5, 12);
  expect(found.slice(6, 9)).toEqual([65504, Infinity, -Infinity]);
  expect(found[9]).toBeNaN();
  expect(found[10]).toBeCloseTo(0.333251953125, 9);
});

test('contours lie where the values cross the level', () => {
  const columns = 5;
  const values = Array.from({ length: 25 }, (_, i) => i % columns); // rises to the right
  const segments = contour(values, columns, 2.5);
  expect(segments.length).toBe(4 * 4);
  for (let i = 0; i < segments.length; i += 2) expect(segments[i]).toBeCloseTo(3, 5); // half a pixel right of 2.5
});

test('peaks ignore what is not finite', () => {
  expect(peakOf([1, NaN, -3, Infinity])).toEqual({ index: 2, value: -3 });
  expect(peakOf([NaN]).index).toBe(-1);
});

test('scales: signed ones are symmetric, others start at 0; hostile ranges give a scale too', () => {
  expect(scaleOf(-1, 3, true)).toEqual({ low: -3, high: 3, signed: true });
  expect(scaleOf(0.5, 3, false)).toEqual({ low: 0, high: 3, signed: false });
  expect(scaleOf(NaN, Infinity, false)).toEqual({ low: 0, high: 1, signed: false });
  expect(along(Infinity, scaleOf(0, 2, false))).toBe(1);
  expect(css(NaN, scaleOf(0, 1, false))).toBe('transparent');
});

test('no line ends between a number and its unit', () => {
  expect(unbroken('9.3 % of the answers, 12 s, 3 GB, 4 steps')).toBe('9.3\u00a0% of the answers, 12\u00a0s, 3\u00a0GB, 4 steps');
});

test('numbers read well', () => {
  expect(format(0.00012345)).toBe('1.234·10⁻⁴');
  expect(format(1e-5)).toBe('10⁻⁵');
  expect([0.001, 1, 1000, 1e4, 1e6, 1e11].map(decade)).toEqual(['0.001', '1', '1\u2009000', '10⁴', '10⁶', '10¹¹']);
  expect(format(-1e-5)).toBe('−10⁻⁵');
  expect(format(-2.1e-5)).toBe('−2.1·10⁻⁵');
  expect(format(-2.5)).toBe('−2.5');
  expect(format(14670.3)).toBe('14\u2009670');
  expect(format(-9999.7)).toBe('−10\u2009000');
  expect(measured(4.9e8, 'bytes')).toBe('490\u2009MB');
  expect(measured(0.0125, 's')).toBe('0.0125\u2009s');
  expect([0, 1, 2000].map((n) => counted(n, 'rule'))).toEqual(['0 rules', '1 rule', '2\u2009000 rules']);
  expect(measured(0.5, '')).toBe('0.5');
  expect(format(1234567)).toBe('1\u2009234\u2009567');
  expect([NaN, Infinity, -Infinity, 0].map((v) => format(v))).toEqual(['NaN', '∞', '−∞', '0']);
  expect(short(25_557_032)).toBe('25.6\u2009M');
  expect(bytes(2048)).toBe('2.05\u2009kB');
  expect(percent(0.1234)).toBe('12.3\u2009%');
  expect(whole(-1000)).toBe('−1\u2009000');
});

describe('curves', () => {
  test('neighbouring ticks read differently', () => {
    const marks = ticks(351_900_000, 352_300_000, 4);
    expect(new Set(marks.map((v) => bytes(v, digitsOf(marks)))).size).toBe(marks.length);
    expect(digitsOf([0, 2, 4])).toBe(3);
    expect(digitsOf([7])).toBe(3);
    expect(digitsOf([0.3401, 0.3402, 0.3403])).toBe(4);
  });

  test('ranges and ticks', () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(1, 160, 2)).toEqual([50, 100, 150]); // one number is no scale
    expect(ticks(11, 19, 2)).toEqual([12, 14, 16, 18]);
    expect(ticks(1000, 1000 + 2.3e-13, 4)).toEqual([1000]);
    expect(ticks(-1.7e308, 1.7e308, 4).length).toBeLessThan(10);
    expect(logTicks(0.5, 20)).toEqual([0.5, 1, 2, 5, 10, 20]);
    expect(spansDecades([{ values: [1e-3, 2] }])).toBe(true);
    expect(spansDecades([{ values: [0, 2] }])).toBe(false);
    expect(nearestIndex([0, 10, 20], 14)).toBe(1);
    expect(nearestIndex([0, 10, 20], 99)).toBe(2);
  });
});

test('long names are cut in the middle, so that two that differ at the end are told apart', () => {
  expect(shortened('abcdefghij', 10)).toBe('abcdefghij');
  expect(shortened('abcdefghijk', 6)).toBe('abc…jk');
});
