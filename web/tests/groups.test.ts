// Charts of very many series: search, and groups that are cut.
import { expect, test } from 'vitest';
import type { HistorySeries } from '../src/core/contract';
import { groupsOf, searched } from '../src/core/series';

const series = (name: string, group: string, run = ''): HistorySeries => ({
  name, group, run, unit: '', steps: { first: 0, step: 1, count: 0 }, values: { blob: 0, dtype: 'f8', shape: [0] }, times: null, epochs: null, samples: null,
});

test('a group of very many lines becomes several charts, each with all runs of its lines', () => {
  const all = ['a', 'b'].flatMap((run) => Array.from({ length: 70 }, (_, i) => series(`g/unit${i}`, 'g', run)));
  all.push(series('loss', '', 'a'));
  const groups = groupsOf(all);
  expect(groups.map((g) => g.series.length)).toEqual([140, 1]);
  const cut = searched(groups, all, []);
  expect(cut.map((g) => [g.title, g.series.length])).toEqual([['g (1 of 3)', 64], ['g (2 of 3)', 64], ['g (3 of 3)', 12], ['loss', 1]]);
  expect(new Set(cut.flatMap((g) => g.series)).size).toBe(141);
  expect(new Set(cut.map((g) => g.key)).size).toBe(4);
  const found = searched(groups, all, ['unit6']);
  expect(found.map((g) => [g.title, g.series.map((i) => all[i].name)])).toEqual([['g', [6, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69].map((i) => `g/unit${i}`).flatMap((n, _, list) => (n === list[0] ? [...list, ...list] : []))]]);
});

test('a hundred thousand names are searched in well under a second', () => {
  const all = Array.from({ length: 100_000 }, (_, i) => series(`layer${Math.floor(i / 100)}/unit${i % 100}/metric`, `layer${Math.floor(i / 100)}/unit${i % 100}`));
  const begun = process.cpuUsage();
  const groups = groupsOf(all);
  expect(searched(groups, all, ['layer999', 'unit77']).map((g) => g.title)).toEqual(['layer999/unit77']);
  expect(process.cpuUsage(begun).user / 1000).toBeLessThan(2000);
});
