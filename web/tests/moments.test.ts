import { expect, test } from 'vitest';
import { momentsOf } from '../src/core/moments';

test('what was logged at once stays together, also where a step repeats', () => {
  const items = [[0, 0], [0, 1], [5, 0], [5, 0], [5, 2], [6, 3]].map(([step, part]) => ({ step, part }));
  expect(momentsOf(items).map((m) => m.map((i) => [i.step, i.part]))).toEqual([[[0, 0], [0, 1]], [[5, 0]], [[5, 0], [5, 2]], [[6, 3]]]);
  expect(momentsOf([])).toEqual([]);
});
