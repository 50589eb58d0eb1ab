// What runs were set to, and how groups of them are called.
import type { Json } from './contract';

const said = (value: Json) => (value === null ? '–' : typeof value === 'string' ? value : JSON.stringify(value));

/** For each run the name of its group of equal settings: of only as many settings as tell the groups apart. */
export function groupNames(settings: { name: string; values: Json[] }[], count: number): string[] {
  const named = (chosen: typeof settings) => Array.from({ length: count }, (_, r) => chosen.map((d) => `${d.name} ${said(d.values[r])}`).join(', '));
  const groups = new Set(named(settings)).size;
  let kept = settings;
  for (const one of settings.toReversed()) { // those that come first are the ones that people gave first
    const rest = kept.filter((d) => d !== one);
    if (rest.length && new Set(named(rest)).size === groups) kept = rest;
  }
  return named(kept);
}
