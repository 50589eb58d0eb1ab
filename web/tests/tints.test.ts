// Colours of graphs: the same kinds in both themes, and whatever is written on them can be read.
import { describe, expect, test } from 'vitest';
import design from '../../src/fluoroscope/render/design.json';
import type { GraphRole } from '../src/core/contract';
import { onPaper } from '../src/core/graph/camera';
import { FAMILIES } from '../src/core/graph/families';
import { readGraph, type Graph } from '../src/core/graph/model';
import { colouring, coloursOf, contrast, seriesOf, type Theme } from '../src/core/graph/tints';

const TYPES = ['BatchNorm2d', 'Attention', 'Embedding', 'LSTM', 'MaxPool2d', 'Conv2d', 'Linear', 'ReLU', 'Net'];
const ROLES: GraphRole[] = ['leaf', 'function', 'saved', 'output'];
const THEMES: Theme[] = ['light', 'dark'];
const COUNT = 41;

/** As many nodes as steps of a ramp, of all kinds in turns, with numbers from nothing to a lot. */
function graphOf(reading: 'forward' | 'autograd'): Graph {
  const all = Array.from({ length: COUNT }, (_, i) => i);
  const of = (value: number) => all.map(() => value);
  const texts = [...TYPES, 'module', ...ROLES];
  const cost = all.map((i) => (i ? Math.round(10 ** (i / 8)) : 0));
  return readGraph({ reading, complete: true, totals: { parameters: 0, trainable: 0, parameter_bytes: 0, flops: 0, activation_bytes: 0, operations: 0, modules: 0 } }, {
    nodes: {
      parent: of(-1), role: all.map((i) => texts.indexOf(reading === 'forward' ? 'module' : ROLES[i % 4])), type: all.map((i) => i % TYPES.length), name: all.map((i) => `n${i}`),
      outputs: all.map(() => []), layout: of(-1), times: of(1), alike: of(0), parameters: cost, trainable: of(0), parameter_bytes: of(0), flops: cost, activation_bytes: cost, operations: of(1),
    },
    rare: {}, edges: { source: [], target: [], output: [], argument: [], tensor: [], fold: [], hub: [] },
    texts, tensors: [], layouts: [], root: 0, carried: [], open: [], values: { signed: all.map((i) => i - 20), positive: all },
  });
}

describe.each(THEMES)('in %s', (theme) => {
  test('text on every box has a contrast of 4.5 at least', () => {
    for (const reading of ['forward', 'autograd'] as const) {
      const graph = graphOf(reading);
      for (const by of ['class', 'parameters', 'flops', 'activationBytes', 'signed', 'positive']) {
        const { paint } = colouring(graph, by, theme);
        for (const node of graph.nodes) {
          const { fill, text, muted } = paint(node);
          expect(Math.min(contrast(text, fill), contrast(muted, fill)), `${by} ${node.type} ${fill} ${text} ${muted}`).toBeGreaterThanOrEqual(4.5);
        }
      }
    }
  });
  test('kinds have their place in the palette of the theme, on the box and in the legend, and stand out from the ground', () => {
    const graph = graphOf('forward');
    const { paint, legend } = colouring(graph, 'class', theme);
    const series = seriesOf(theme);
    expect(legend.kind).toBe('swatches');
    if (legend.kind !== 'swatches') return;
    expect(legend.entries.map((e) => [e.name, e.colour])).toEqual(FAMILIES.map((f) => [f.name, series[f.series]]));
    for (const [i, name] of ['normalization', 'attention', 'embedding', 'recurrent', 'pooling', 'convolution', 'linear', 'activation'].entries()) {
      expect(paint(graph.nodes[i]).bar).toBe(legend.entries.find((e) => e.name === name)!.colour);
    }
    if (theme === 'dark') for (const colour of series) expect(contrast(colour, coloursOf(theme).surface)).toBeGreaterThan(3);
  });
});

test('the dark palette is used in the dark', () => {
  expect(seriesOf('dark')).toEqual(design.palette.categorical_dark);
  expect(seriesOf('dark')).not.toEqual(seriesOf('light'));
});

test('contrast as WCAG has it', () => {
  expect(contrast('#ffffff', '#000000')).toBeCloseTo(21, 10);
  expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.478, 3);
  expect(contrast('#123456', '#123456')).toBe(1);
});

test('on paper a graph is whole, no wider than a page, and no smaller than can be read for the sake of its length', () => {
  for (const picture of [{ width: 300, height: 500 }, { width: 3000, height: 400 }, { width: 600, height: 2600 }, { width: 700, height: 90_000 }]) {
    const { size, camera, ratio } = onPaper(picture);
    expect(camera.x).toBe(0);
    expect(Math.abs(size.width - picture.width * camera.scale)).toBeLessThanOrEqual(1);
    expect(Math.abs(size.height - picture.height * camera.scale)).toBeLessThanOrEqual(1);
    expect(size.width).toBeLessThanOrEqual(720);
    expect(Math.max(size.width, size.height) * ratio).toBeLessThanOrEqual(16_000);
  }
  expect(onPaper({ width: 300, height: 500 }).camera.scale).toBe(1); // never larger than life
  expect(onPaper({ width: 600, height: 1200 }).size.height).toBe(950); // one page
  expect(onPaper({ width: 600, height: 9000 }).camera.scale).toBe(0.6); // long, but legible
});
