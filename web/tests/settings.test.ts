// Groups of runs are called by what tells them apart, and no more.
import { expect, test } from 'vitest';
import { groupNames } from '../src/core/settings';

const lr = { name: 'lr', values: [0.1, 0.1, 1, 3] };
const optimizer = { name: 'optimizer', values: ['SGD', 'SGD', 'Adam', 'Adam'] };
const betas = { name: 'betas', values: [null, null, [0.9, 0.95], [0.9, 0.95]] };

test('settings that tell nothing more are left out of the short name', () => {
  expect(groupNames([lr, optimizer, betas], 4)).toEqual(['lr 0.1', 'lr 0.1', 'lr 1', 'lr 3']);
});

test('of two settings that are both needed both stay', () => {
  const seed = { name: 'seed', values: [0, 1, 0, 1] };
  expect(groupNames([optimizer, betas, seed], 4)).toEqual(['optimizer SGD, seed 0', 'optimizer SGD, seed 1', 'optimizer Adam, seed 0', 'optimizer Adam, seed 1']);
});

test('one setting stays, whatever it tells, and what was not set is a dash', () => {
  expect(groupNames([{ name: 'betas', values: [null, null] }], 2)).toEqual(['betas –', 'betas –']);
});
