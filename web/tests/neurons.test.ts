import { describe, expect, it } from 'vitest';
import { columnsOf, linesOf, type Layer } from '../src/core/neurons';

const layer = (name: string, width: number, after: number[], weights: number[] | null): Layer => ({
  layer: { name, names: null, after: { shape: [2, width] } }, after, weights,
});
const given = layer('input', 3, [1, -2, 0.5, 0, 1, 4], null);
const hidden = layer('hidden', 2, [3, 0, 1, 1], [1, 0, -2, 0.001, 0.5, 1]);

describe('neurons', () => {
  it('reads the activations of the chosen input', () => {
    expect(columnsOf([given, hidden], 1, 16).map((c) => c.values)).toEqual([[0, 1, 4], [1, 1]]);
    expect(columnsOf([given, hidden], 0, 16)[0].peak).toBe(2);
  });

  it('keeps the neurons that send most on', () => {
    // |activation| x largest outgoing weight: 1 x 1, 2 x 0.5, 0.5 x 2 for the first input; 0, 0.5 and 8 for the second
    expect(columnsOf([given, hidden], 1, 1)[0].shown).toEqual([2]);
    expect(columnsOf([given, hidden], 1, 2)[0]).toMatchObject({ shown: [1, 2], hidden: 1 });
  });

  it('draws the weight from each neuron to each, the strongest last, and leaves out what is next to nothing', () => {
    const [one, other] = columnsOf([given, hidden], 0, 16);
    const lines = linesOf(one, other, 'weights');
    expect(lines.map((l) => [l.from, l.to, l.value])).toEqual([[1, 1, 0.5], [0, 0, 1], [2, 1, 1], [2, 0, -2]]);
    expect(lines[lines.length - 1].share).toBe(1);
    expect(linesOf(one, other, 'flow').map((l) => l.value)).toEqual([0.5, 1, -1, -1]);
  });

  it('sets columns apart and their neurons symmetrically', () => {
    const [one, other] = columnsOf([given, hidden], 0, 16);
    expect(other.x).toBeGreaterThan(one.x);
    expect(one.y[0] + one.y[2]).toBeCloseTo(other.y[0] + other.y[1]);
  });
});
