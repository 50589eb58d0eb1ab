// Padding is one entry for each run of it, and words keep their places and values.
import { expect, test } from 'vitest';
import { entriesOf } from '../src/core/tokens';

test('padding at an end, at the beginning, and nowhere', () => {
  const values = [1, 2, 4, -8, 7];
  const names = ['a', 'b', '[PAD]', '[PAD]', '[PAD]'];
  const end = entriesOf(values, names, [[2, 5]]);
  expect(end.map((e) => e.text)).toEqual(['a', 'b', 'padding × 3']);
  expect(end.map((e) => e.value)).toEqual([1, 2, -8]);
  expect(end.map((e) => e.padding)).toEqual([false, false, true]);
  const start = entriesOf(values, null, [[0, 2], [4, 5]]);
  expect(start.map((e) => e.text)).toEqual(['padding × 2', '2', '3', 'padding × 1']);
  expect(start.map((e) => e.at)).toEqual([0, 2, 3, 4]);
  expect(start.map((e) => e.value)).toEqual([2, 4, -8, 7]);
  expect(entriesOf(values, names, []).map((e) => e.value)).toEqual(values);
  expect(entriesOf([1, NaN, 0], null, [[0, 3]])[0].value).toBeNaN();
});
