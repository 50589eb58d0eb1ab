// Colours of layers by steps, and the axis of histograms.
import { describe, expect, test } from 'vitest';
import { alongHeat, bucketPosition, decadeTicks, heatPixels, heatScale, type Cells } from '../src/core/heat';

const cells = (values: number[], columns: number, state?: number[]): Cells => ({ values, columns, rows: values.length / columns, state: state ?? values.map((v) => (Number.isFinite(v) ? 1 : 2)) });

describe('scales', () => {
  test('norms over many orders are logarithmic, and an outlier does not take the colours', () => {
    const values = Array.from({ length: 1000 }, (_, i) => 10 ** (-4 + (3 * i) / 999));
    values[999] = 1e9;
    const scale = heatScale('gradient/norm', '', cells(values, 100))!;
    expect(scale.log && scale.over && scale.under).toBe(true);
    expect(scale.high).toBeLessThan(0.2);
    expect(alongHeat(Math.sqrt(scale.low * scale.high), scale)).toBeCloseTo(0.5, 9);
    expect([alongHeat(0, scale), alongHeat(1e9, scale)]).toEqual([0, 1]);
  });
  test('a healthy update is neutral', () => {
    const scale = heatScale('update/ratio', '', cells([1e-3, 1e-7], 2))!;
    expect(alongHeat(1e-3, scale)).toBeCloseTo(0.5, 12);
    expect(scale.under).toBe(true);
  });
  test('two signs are symmetric, shares begin at 0', () => {
    const signed = heatScale('gradient/mean', '', cells([-2, 1], 2))!;
    expect([signed.low, signed.high]).toEqual([-2, 2]);
    const share = heatScale('activation/dead', 'share', cells([0, 0.4], 2))!;
    expect([share.low, share.high, share.log]).toEqual([0, 0.4, false]);
    expect(heatScale('x', '', cells([NaN], 1))).toBeNull();
  });
});

describe('pixels', () => {
  // vitest runs without a browser
  globalThis.ImageData ??= class { data: Uint8ClampedArray; constructor(public width: number, public height: number) { this.data = new Uint8ClampedArray(4 * width * height); } } as never;
  test('a pixel that covers several cells shows the largest, and NaN before any value', () => {
    const scale = heatScale('a', '', cells([0, 1], 2))!;
    const shown = (c: Cells, width: number) => Array.from(heatPixels(c, [0], scale, width, 1).data);
    expect(shown(cells([0, 1, 0, 0], 4), 2).slice(0, 4)).toEqual(shown(cells([1], 1), 1));
    expect(shown(cells([0, NaN, 0, 0], 4), 1)).toEqual([200, 40, 30, 255]);
    expect(shown(cells([0, 0], 2, [0, 0]), 2)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

test('the axis of histograms gives every bucket the same width', () => {
  const edges = [-10, -1, -0.1, 0, 0.1, 1, 10];
  expect([-10, -1, 0, 0.05, 10, 99].map((v) => bucketPosition(edges, v))).toEqual([0, 1, 3, 3.5, 6, 6]);
  expect(decadeTicks(edges)).toEqual([10, -10, 1, -1, 0.1, -0.1, 0]);
});
