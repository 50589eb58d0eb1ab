// The graph panel's arithmetic against slower, plainer formulas.
import { describe, expect, test } from 'vitest';
import type { GraphData, GraphLayout } from '../src/core/contract';
import { arrange, GAP, type Box } from '../src/core/graph/arrange';
import { centred, held, opening, seen, showing, whole, zoomed } from '../src/core/graph/camera';
import { totals, valuesOf } from '../src/core/graph/costs';
import { familyOf } from '../src/core/graph/families';
import { flowsOf } from '../src/core/graph/flows';
import { levelOf, levels, openTo, revealing, toggled, visible } from '../src/core/graph/fold';
import { hit } from '../src/core/graph/hit';
import { BOTTOM, foldAround, hubLinks, lift, TOP } from '../src/core/graph/lift';
import { instances, isWithin, readGraph, type Graph } from '../src/core/graph/model';
import { troubles } from '../src/core/graph/paint';
import { neighbours, reached, shortest } from '../src/core/graph/paths';
import { placed } from '../src/core/graph/place';
import { costRows, sortedBy, treeRows } from '../src/core/graph/rows';
import { sceneOf } from '../src/core/graph/scene';
import { search } from '../src/core/graph/search';
import { fitted, linkText, measurer, nameOf, sizesOf, textOf } from '../src/core/graph/texts';
import { colouring, mixed } from '../src/core/graph/tints';

interface Given { name: string; parent?: number; role?: string; type?: string; times?: number; repeat?: string; parameters?: number; members?: string[]; error?: string }
type Edge = [source: number, target: number, more?: { hub?: number; fold?: string; tensor?: number; argument?: string }];

/** Data of a panel: one row for each child, in order, unless a layout says otherwise. */
function dataOf(given: Given[], edges: Edge[], layouts: Record<number, GraphLayout> = {}): GraphData {
  const texts: string[] = [];
  const text = (t: string) => (texts.includes(t) ? texts.indexOf(t) : texts.push(t) - 1);
  const inside = new Map<number, number[]>();
  given.forEach((g, i) => inside.set(g.parent ?? -1, [...(inside.get(g.parent ?? -1) ?? []), i]));
  const children = (id: number) => inside.get(id)!;
  const containers = [...inside.keys()].sort((a, b) => a - b);
  const numbers = new Map(containers.map((id, i) => [id, i]));
  const made = containers.map((id) => layouts[id] ?? { rows: children(id).map((_, i) => [i]), trunks: [], back: [] });
  const all = (value: number) => given.map(() => value);
  const rare = (key: 'repeat' | 'members' | 'error') => Object.fromEntries(given.flatMap((g, i) => (g[key] ? [[i, g[key]]] : [])));
  return {
    nodes: {
      parent: given.map((g) => g.parent ?? -1), role: given.map((g) => text(g.role ?? 'module')), type: given.map((g) => text(g.type ?? '')),
      name: given.map((g) => g.name), outputs: given.map(() => []), layout: given.map((_, i) => numbers.get(i) ?? -1),
      times: given.map((g) => g.times ?? 1), alike: all(0), parameters: given.map((g) => g.parameters ?? 0), trainable: all(0),
      parameter_bytes: all(0), flops: all(7), activation_bytes: all(0), operations: all(1),
    },
    rare: { repeat: rare('repeat'), members: rare('members'), error: rare('error') } as GraphData['rare'],
    edges: {
      source: edges.map((e) => e[0]), target: edges.map((e) => e[1]), output: edges.map(() => 0), argument: edges.map((e) => text(e[2]?.argument ?? '')),
      tensor: edges.map((e) => e[2]?.tensor ?? 0), fold: edges.map((e) => text(e[2]?.fold ?? '')), hub: edges.map((e) => e[2]?.hub ?? 0),
    },
    texts, tensors: [{ shape: [2, 3], dtype: 'float32', bytes: 24 }, { shape: [], dtype: 'int64', bytes: 8 }], layouts: made, root: 0, carried: [], open: [],
    values: { heat: given.map((_, i) => (i % 2 ? i : null)) },
  };
}

const TOTALS = { parameters: 0, trainable: 0, parameter_bytes: 0, flops: 0, activation_bytes: 0, operations: 0, modules: 0 };
const graphOf = (...given: Parameters<typeof dataOf>): Graph => readGraph({ reading: 'forward', complete: true, totals: TOTALS }, dataOf(...given));

// x -> net { a { p, q }, block x 5 { r, s { t } } } -> y; a mask feeds t as a hub; t is carried on to r; p skips to t
const NODES: Given[] = [
  { name: 'x', role: 'input' }, { name: 'mask', role: 'input' }, { name: 'net', type: 'Net' }, { name: 'net.a', parent: 2, type: 'A' },
  { name: 'net.a.p', parent: 3, type: 'Linear' }, { name: 'net.a.q', parent: 3, type: 'ReLU' },
  { name: 'net.block.0', parent: 2, type: 'Block', times: 5, repeat: 'repetition', members: ['net.block.0 … net.block.4'], parameters: 10 },
  { name: 'net.block.0.r', parent: 6, type: 'Linear', parameters: 6 }, { name: 'net.block.0.s', parent: 6, parameters: 4 },
  { name: 'net.block.0.s.t', parent: 8, type: 'LayerNorm', times: 2, repeat: 'recurrence', parameters: 4, error: 'broke' }, { name: 'y', role: 'output' },
];
const EDGES: Edge[] = [[0, 4], [4, 5], [5, 7], [7, 9], [9, 7, { fold: 'carried' }], [4, 9], [1, 9, { hub: 1, fold: 'each' }], [9, 10]];
const graph = graphOf(NODES, EDGES);
const everything = new Set([2, 3, 6, 8]);
const pairs = (open: Set<number>) => Object.fromEntries([...lift(graph, visible(graph, open)).links].map(([c, list]) => [c, list.map((l) => [l.source, l.target, l.edges]).sort()]));

describe('reading', () => {
  test('labels are names without those around them, levels are counted', () => {
    expect(graph.nodes.map((n) => n.label)).toEqual(['x', 'mask', 'net', 'a', 'p', 'q', 'block.0', 'r', 's', 't', 'y']);
    expect(graph.nodes[9].depth).toBe(3);
    expect(levels(graph)).toBe(4);
    expect(isWithin(graph, 9, 2)).toBe(true);
    expect(isWithin(graph, 5, 6)).toBe(false);
    expect(instances(graph, 9)).toBe(10);
    expect(graph.dtype).toBe('float32');
  });
  test('a node before its parent and an edge to nowhere are refused', () => {
    expect(() => graphOf([{ name: 'a', parent: 0 }], [])).toThrow(/before its parent/);
    expect(() => graphOf([{ name: 'a' }], [[0, 3]])).toThrow(/edge joins 0 and 3/);
  });
});

describe('folding', () => {
  test('what stands for what', () => {
    expect(visible(graph, new Set([2])).nodes).toEqual([0, 1, 2, 3, 6, 10]);
    expect([...visible(graph, new Set([2])).standsFor]).toEqual([0, 1, 2, 3, 3, 3, 6, 6, 6, 6, 10]);
    expect([...visible(graph, new Set([3])).standsFor].slice(3, 6)).toEqual([2, 2, 2]); // open inside of a closed one
  });
  test('levels open and are recognized', () => {
    expect([...openTo(graph, 2)]).toEqual([2, 3, 6]);
    for (let depth = 0; depth < levels(graph); depth++) expect(levelOf(graph, openTo(graph, depth))).toBe(depth);
    expect([...revealing(graph, new Set(), 9)].sort()).toEqual([2, 6, 8]);
    expect([...toggled(toggled(new Set(), 2), 2)]).toEqual([]);
  });
});

describe('lifting', () => {
  test('closed: one link between modules for all edges between them', () => {
    expect(pairs(new Set())).toEqual({ '-1': [[0, 2, [0]], [2, 10, [7]]] });
  });
  test('open: over the border of each container, through its ports', () => {
    const found = pairs(new Set([2, 6]));
    expect(found[-1]).toEqual([[0, 2, [0]], [2, 10, [7]]]);
    expect(found[2]).toEqual([[TOP, 3, [0]], [3, 6, [2, 5]], [6, BOTTOM, [7]]].sort());
    expect(found[6]).toEqual([[TOP, 7, [2, 4]], [TOP, 8, [5]], [7, 8, [3]], [8, BOTTOM, [4, 7]]].sort());
  });
  test('what is carried on makes a loop around the innermost fold that is open, and none where it is closed', () => {
    expect(foldAround(graph, 9, 7)).toBe(6);
    expect([...lift(graph, visible(graph, everything)).loops]).toEqual([[6, [4]]]);
    expect(lift(graph, visible(graph, new Set([2]))).loops.size).toBe(0);
  });
  test('hub edges are no links, and are had for one node or all', () => {
    const seen = visible(graph, new Set([2]));
    expect(hubLinks(graph, seen, 'all')).toEqual([{ source: 1, target: 6, edges: [6] }]);
    expect(hubLinks(graph, seen, 6)).toHaveLength(1);
    expect(hubLinks(graph, seen, 3)).toHaveLength(0);
  });
  test('every edge is on the picture at any folding, by a chain of links from end to end', () => {
    for (const open of [new Set<number>(), new Set([2]), new Set([2, 3]), new Set([2, 6, 8]), everything]) {
      const { links } = lift(graph, visible(graph, open));
      const { standsFor } = visible(graph, open);
      graph.edges.forEach((edge, e) => {
        if (edge.hub || edge.fold === 'carried' || standsFor[edge.source] === standsFor[edge.target]) return;
        const on = [...links].flatMap(([c, list]) => list.filter((l) => l.edges.includes(e)).map((l) => [l.source === TOP ? `${c}T` : `${l.source}`, l.target === BOTTOM ? `${c}B` : `${l.target}`]));
        // out of a container's lower port one goes on as the container, and into its upper port as what is inside
        let at = `${standsFor[edge.source]}`;
        for (let k = 0; k < 9 && at !== `${standsFor[edge.target]}`; k++) at = (on.find(([from]) => from === at || from === `${at}T` || `${from}B` === at) ?? ['', '?'])[1];
        expect(at).toBe(`${standsFor[edge.target]}`);
      });
    }
  });
});

describe('places', () => {
  const slot = (wish: number, weight = 1) => ({ left: 5, right: 5, wish, weight });
  const cost = (slots: { wish: number; weight: number }[], x: number[]) => slots.reduce((sum, s, i) => sum + s.weight * (x[i] - s.wish) ** 2, 0);

  test('where there is room everyone has their wish', () => {
    expect(placed([slot(0), slot(20), slot(100)], 2)).toEqual([0, 20, 100]);
  });
  test('no arrangement in order and with the gap costs less', () => {
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let round = 0; round < 40; round++) {
      const slots = Array.from({ length: 6 }, () => slot(random() * 40, 0.2 + random()));
      const best = placed(slots, 2);
      best.forEach((x, i) => i && expect(x - best[i - 1]).toBeGreaterThan(12 - 1e-9));
      const least = cost(slots, best);
      for (let tries = 0; tries < 60; tries++) {
        const other = best.map((x) => x + (random() - 0.5) * 4);
        other.forEach((x, i) => i && (other[i] = Math.max(x, other[i - 1] + 12)));
        expect(cost(slots, other)).toBeGreaterThan(least - 1e-9);
      }
    }
  });
});

describe('arranging', () => {
  const box = (id: number, width = 100, height = 40): Box => ({ id, width, height, enter: width / 2, leave: width / 2 });
  const link = (source: number, target: number) => ({ container: -1, source, target, edges: [0], carried: false });

  test('a chain of boxes of any width is one straight line', () => {
    const widths = [100, 240, 60, 180];
    const found = arrange(widths.map((w, i) => box(i, w)), { rows: [[0], [1], [2], [3]], trunks: [], back: [] }, [link(0, 1), link(1, 2), link(2, 3)]);
    const axes = widths.map((w, i) => found.x[i] + w / 2);
    for (const x of axes) expect(x).toBeCloseTo(axes[0], 6);
    expect(found.y.every((y, i) => !i || y === found.y[i - 1] + 40 + GAP.down)).toBe(true);
  });
  test('a skip runs beside what it passes, and the main path stays straight', () => {
    const layout: GraphLayout = { rows: [[0], [1, -1], [2, -1], [3]], trunks: [[0, 1, 2, 0]], back: [] };
    const found = arrange([0, 1, 2, 3].map((i) => box(i)), layout, [link(0, 1), link(1, 2), link(2, 3), link(0, 3)]);
    for (const x of found.x) expect(x).toBeCloseTo(found.x[0], 2);
    const { points } = found.routes[3];
    const xs = points.filter((_, k) => k % 2 === 0);
    expect(Math.min(xs[1], xs[2])).toBeGreaterThan(found.x[1] + 100);
    expect(xs[1]).toBeCloseTo(xs[2], 6);
  });
  test('boxes never touch, and no way crosses a box that is not its own', () => {
    const rows = [[0, 1, 2], [3, -1, 4, -2], [5, 6], [7]];
    const layout: GraphLayout = { rows, trunks: [[1, 1, 1, 0], [2, 1, 1, 0]], back: [] };
    const boxes = [...Array(8).keys()].map((i) => box(i, 60 + 17 * ((i * 5) % 7), 30 + 11 * (i % 3)));
    const links = [[0, 3], [1, 4], [1, 6], [2, 5], [2, 4], [3, 5], [4, 6], [5, 7], [6, 7]].map(([a, b]) => link(a, b));
    const found = arrange(boxes, layout, links);
    for (const a of boxes.keys()) for (const b of boxes.keys()) {
      if (a >= b) continue;
      const apart = found.x[a] + boxes[a].width + GAP.across <= found.x[b] + 1e-6 || found.x[b] + boxes[b].width + GAP.across <= found.x[a] + 1e-6
        || found.y[a] + boxes[a].height < found.y[b] || found.y[b] + boxes[b].height < found.y[a];
      expect(apart).toBe(true);
    }
    for (const { link: l, points } of found.routes) for (let k = 2; k < points.length; k += 2) for (let t = 0; t <= 1; t += 0.05) {
      const ease = 3 * t * t * (1 - t) + t * t * t; // x of a curve with upright ends
      const [x, y] = [points[k - 2] + (points[k] - points[k - 2]) * ease, points[k - 1] + (points[k + 1] - points[k - 1]) * (1.5 * t * (1 - t) * (1 - t) + 1.5 * t * t * (1 - t) + t * t * t)];
      boxes.forEach((b, i) => {
        const inside = x > found.x[i] + 1 && x < found.x[i] + b.width - 1 && y > found.y[i] + 1 && y < found.y[i] + b.height - 1;
        expect(inside && i !== l.source && i !== l.target).toBe(false);
      });
    }
  });
  test('a wire that goes up runs left of everything', () => {
    const found = arrange([box(0), box(1)], { rows: [[0], [1]], trunks: [], back: [[1, 0, 1]] }, [link(0, 1), link(1, 0)]);
    const xs = found.routes[1].points.filter((_, k) => k % 2 === 0);
    expect(Math.min(...xs)).toBeLessThan(Math.min(...found.x));
    expect(found.routes[1].square).toBe(true);
  });
});

const measure = (text: string, size: number) => text.length * size * 0.55;

describe('the scene', () => {
  const scene = sceneOf(graph, everything, sizesOf(graph, measure));
  test('children lie inside of their container, below its header', () => {
    for (const id of scene.visible.nodes) {
      const { parent } = graph.nodes[id];
      if (parent < 0) continue;
      expect(scene.x[id]).toBeGreaterThanOrEqual(scene.x[parent]);
      expect(scene.x[id] + scene.width[id]).toBeLessThanOrEqual(scene.x[parent] + scene.width[parent] + 1e-6);
      expect(scene.y[id]).toBeGreaterThanOrEqual(scene.y[parent] + 34);
      expect(scene.y[id] + scene.height[id]).toBeLessThanOrEqual(scene.y[parent] + scene.height[parent]);
    }
  });
  test('a link ends where the next one starts: at the port of the container', () => {
    const outer = scene.ways.find((w) => w.link.container === -1 && w.link.target === 2)!;
    const inner = scene.ways.find((w) => w.link.container === 2 && w.link.source === TOP)!;
    expect(outer.points.at(-2)).toBeCloseTo(inner.points[0], 6);
  });
  test('the innermost box is hit, its chevron by its corner', () => {
    const at = (id: number, dx: number, dy: number) => hit(scene, scene.x[id] + dx, scene.y[id] + dy);
    expect(at(9, 30, 20)).toMatchObject({ id: 9 });
    expect(at(6, 5, 5)).toEqual({ id: 6, chevron: true });
    expect(hit(scene, -500, 0)).toBeNull();
  });
  test('nested 10,000 deep, all open', () => {
    const deep = graphOf(Array.from({ length: 10_000 }, (_, i) => ({ name: `m${i}`, parent: i - 1 })), []);
    const all = sceneOf(deep, openTo(deep, 10_000), sizesOf(deep, measure));
    expect(all.visible.nodes).toHaveLength(10_000);
    expect(all.height[0]).toBeGreaterThan(340_000);
    expect(treeRows(deep, openTo(deep, 10_000))).toHaveLength(10_000);
  });
  test('trouble is told outwards', () => {
    expect([...troubles(graph)]).toEqual([0, 0, 2, 0, 0, 0, 2, 0, 2, 2, 0]);
  });
});

describe('the camera', () => {
  const [picture, window] = [{ width: 4000, height: 1000 }, { width: 800, height: 400 }];
  test('all of it fits and lies in the middle', () => {
    const c = whole(picture, window);
    expect(c.scale * picture.width).toBeCloseTo(776, 6);
    expect(c.x + (c.scale * picture.width) / 2).toBeCloseTo(400, 6);
    expect(seen(c, window).width).toBeGreaterThan(4000);
  });
  test('zooming keeps the place under the pointer', () => {
    const before = { x: -35, y: 12, scale: 0.7 };
    const after = zoomed(before, 1.7, 123, 45, 0.01);
    expect((123 - after.x) / after.scale).toBeCloseTo((123 - before.x) / before.scale, 9);
    expect(zoomed(before, 1e9, 0, 0, 0.01).scale).toBe(3);
    expect(zoomed(before, 1e-9, 0, 0, 0.01).scale).toBe(0.01);
  });
  test('the picture is never lost, and a box is brought into view by the least move', () => {
    const c = held({ x: 1e6, y: -1e6, scale: 1 }, picture, window);
    expect([c.x, c.y]).toEqual([740, 60 - 1000]);
    const box = { x: 1000, y: 100, width: 100, height: 40 };
    const there = showing({ x: 0, y: 0, scale: 1 }, box, window);
    expect([there.x, there.y]).toEqual([800 - 48 - 1100, 0]);
    expect(showing(there, box, window)).toEqual(there);
    const middle = centred({ x: 0, y: 0, scale: 0.1 }, box, window);
    expect(1050 * middle.scale + middle.x).toBeCloseTo(400, 6);
    expect(opening({ width: 100, height: 100 }, window, 0).scale).toBe(1);
    expect(opening({ width: 300, height: 9000 }, window, 0)).toMatchObject({ scale: 1, y: 12 });
  });
});

describe('search and paths', () => {
  test('every word counts, starts come first', () => {
    expect(search(graph, 'linear block').map((id) => graph.nodes[id].label)).toEqual(['r']);
    expect(search(graph, 'BLOCK').slice(0, 1)).toEqual([6]);
    expect(search(graph, 'broke')).toEqual([9]);
    expect(search(graph, ' ')).toEqual([]);
  });
  test('upstream and downstream are the closures of the edges', () => {
    const near = neighbours(graph, false);
    expect([...reached(graph, near, 5, true).nodes].sort((a, b) => a - b)).toEqual([5, 7, 9, 10]);
    expect([...reached(graph, near, 4, false).nodes].sort((a, b) => a - b)).toEqual([0, 4]);
    expect(reached(graph, near, 9, false).nodes.has(1)).toBe(false);
    expect(reached(graph, neighbours(graph, true), 9, false).nodes.has(1)).toBe(true);
    expect(reached(graph, near, 3, true).nodes.has(10)).toBe(true); // of a module: of what is in it
  });
  test('the shortest path is shortest', () => {
    const near = neighbours(graph, false);
    expect([...shortest(graph, near, 0, 10)!.edges].map((e) => EDGES[e].slice(0, 2))).toEqual([[9, 10], [4, 9], [0, 4]]);
    expect(shortest(graph, near, 10, 0)).toBeNull();
  });
  test('what a module takes and gives', () => {
    const { takes, gives } = flowsOf(graph, 6);
    expect(takes.map((f) => f.other)).toEqual([5, 4, 1]);
    expect(gives.map((f) => f.other)).toEqual([10]);
  });
});

describe('costs', () => {
  test('folds are multiplied out, weights of what recurs are counted once', () => {
    expect(totals(graph, 'parameters')[6]).toBe(50);
    expect(totals(graph, 'parameters')[9]).toBe(20);
    expect(totals(graph, 'flops')[9]).toBe(70);
  });
  test('rows sort by a column, and the tree is depth first', () => {
    expect(sortedBy(costRows(graph), 'parameters')[0].id).toBe(6);
    expect(treeRows(graph, new Set([2, 6])).map((r) => [r.id, r.level, r.position, r.of])).toEqual([[0, 1, 1, 4], [1, 1, 2, 4], [2, 1, 3, 4], [3, 2, 1, 2], [6, 2, 2, 2], [7, 3, 1, 2], [8, 3, 2, 2], [10, 1, 4, 4]]);
  });
  test("the user's own numbers keep their gaps", () => {
    expect([...valuesOf(graph, 'heat')].slice(0, 4)).toEqual([NaN, 1, NaN, 3]);
  });
});

describe('texts and colours', () => {
  test('a fold is named by its first and last', () => {
    expect(nameOf(graph, graph.nodes[6])).toBe('block.0 … block.4');
    expect(textOf(graph, graph.nodes[6]).badge).toBe('× 5');
  });
  test('letters that turn or hide text are not drawn', () => {
    const hostile = graphOf([{ name: '\u202ea\u0007b\u200b', type: 'x'.repeat(5000) }], []);
    expect(textOf(hostile, hostile.nodes[0]).title).toBe('a b');
    expect(textOf(hostile, hostile.nodes[0]).sub.length).toBeLessThan(310);
    const { width } = sizesOf(hostile, measure).closed(0);
    expect(width).toBeLessThan(300);
  });
  test('long names lose their middle', () => {
    const width = (t: string) => [...t].length;
    expect(fitted('abcdefghij', 7, width)).toBe('abc…hij');
    expect(fitted('abc', 7, width)).toBe('abc');
    expect(fitted('abc', 0, width)).toBe('');
  });
  test('widths are sums of letters, each measured once', () => {
    let asked = 0;
    const m = measurer({ font: '', measureText: (t) => ({ width: (asked++, t === 'i' ? 20 : 50) }) }, 'x');
    expect(m('aiai', 10, false)).toBe(14);
    expect(m('aia', 10, false)).toBe(12);
    expect(asked).toBe(2);
  });
  test('links say their shape, and its type only where it is unusual', () => {
    expect(linkText([graph.edges[0]], 'float32')).toBe('2×3');
    expect(linkText([{ ...graph.edges[0], tensor: { shape: [], dtype: 'int64', bytes: 8 } }], 'float32')).toBe('scalar int64');
    expect(linkText([graph.edges[0], graph.edges[1]], 'float32')).toBe('2 of 2×3');
  });
  test('families by class, the most telling word first', () => {
    const of = (type: string, code = '') => familyOf(type, code)?.name;
    expect(['Conv2d', 'BatchNorm2d', 'LlamaAttention', 'scaled_dot_product_attention', 'GELU', 'Linear', 'AdaptiveAvgPool2d', 'LSTM', 'Embedding'].map((t) => of(t))).toEqual(
      ['convolution', 'normalization', 'attention', 'attention', 'activation', 'linear', 'pooling', 'recurrent', 'embedding']);
    expect([of('flatten'), of('Dropout'), of('add')]).toEqual([undefined, undefined, undefined]);
    expect([of('Conv1D', 'transformers/pytorch_utils.py:117'), of('Conv1D', 'keras/layers.py')]).toEqual(['linear', 'convolution']);
  });
  test('colours of numbers rise from ground to full', () => {
    expect(mixed('#000000', '#ffffff', 0.5)).toBe('#808080');
    const { paint, legend } = colouring(graph, 'parameters', 'light');
    expect(legend).toMatchObject({ kind: 'ramp', high: 30, logarithmic: true });
    expect(paint(graph.nodes[7]).fill).not.toBe(paint(graph.nodes[9]).fill);
    expect(paint(graph.nodes[0]).fill).toBe('#ffffff');
    expect(colouring(graph, 'class', 'dark').legend).toMatchObject({ kind: 'swatches' });
  });
});
