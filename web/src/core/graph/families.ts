// Kinds of layers that practitioners tell apart at a glance, found by the names of classes and operations.

import design from '../../../../src/fluoroscope/render/design.json';

export interface Family { name: string; title: string; pattern: RegExp; series: number }

/** From design.json, which figures read as well; the first that matches counts. `series` is a colour of the categorical palette. */
export const FAMILIES: Family[] = design.families.map((f) => ({ ...f, pattern: new RegExp(f.pattern, 'i') }));

const known = new Map<string, Family | null>();

export function familyOf(type: string, code = ''): Family | null {
  const name = type === 'Conv1D' && code.includes('pytorch_utils') ? 'Linear' : type; // GPT-2's own name for a matrix
  let found = known.get(name);
  if (found === undefined) {
    found = FAMILIES.find((f) => f.pattern.test(name)) ?? null;
    known.set(name, found);
  }
  return found;
}
