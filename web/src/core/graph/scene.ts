// Everything that is visible, with coordinates: sizes from the inside out, places from the outside in.
import { GAP, arrange, type Arranged, type Box } from './arrange';
import { visible, type Open, type Visible } from './fold';
import { lift, type Link } from './lift';
import type { Graph } from './model';

/** Size of a closed box; a wide header for an open one. */
export interface Sizes {
  closed(id: number): { width: number; height: number };
  header(id: number): number;
}

/** A link where it runs, and the rectangle around it. */
export interface Way {
  link: Link; points: number[]; square: boolean; loop: boolean;
  left: number; top: number; right: number; bottom: number;
}

export interface Scene {
  visible: Visible;
  /** By node: is it open, and where is it? Only meaningful for visible nodes. */
  open: Uint8Array; x: Float64Array; y: Float64Array; width: Float64Array; height: Float64Array;
  ways: Way[];
  size: { width: number; height: number };
}

export const FRAME = { pad: 14, header: 34, foot: 0, edge: 24 };
const LOOP = 16; // how far beside a block its return runs

export function sceneOf(graph: Graph, open: Open, sizes: Sizes): Scene {
  const seen = visible(graph, open);
  const { links, loops } = lift(graph, seen);
  const count = graph.nodes.length;
  const scene: Scene = {
    visible: seen, open: new Uint8Array(count), x: new Float64Array(count), y: new Float64Array(count),
    width: new Float64Array(count), height: new Float64Array(count), ways: [], size: { width: 0, height: 0 },
  };
  const inner = new Map<number, Arranged>();
  const boxes = new Map<number, Box>();
  const inside = (ids: number[]) => ids.map((id) => boxes.get(id)!);
  for (const id of [...seen.nodes].reverse()) {
    const node = graph.nodes[id];
    if (!node.children.length || !open.has(id)) {
      const { width, height } = sizes.closed(id);
      boxes.set(id, { id, width, height, enter: width / 2, leave: width / 2 });
      continue;
    }
    scene.open[id] = 1;
    const found = arrange(inside(node.children), node.layout, links.get(id) ?? []);
    inner.set(id, found);
    boxes.set(id, framed(id, found, sizes.header(id), loops.has(id)));
  }
  const whole = arrange(inside(graph.roots), graph.layout, links.get(-1) ?? []);
  scene.size = { width: whole.width + 2 * FRAME.edge, height: whole.height + 2 * (FRAME.edge - GAP.port) };
  put(scene, graph.roots, boxes, whole, FRAME.edge, FRAME.edge - GAP.port);
  for (const id of seen.nodes) {
    const found = inner.get(id);
    if (!found) continue;
    const x = scene.x[id] + boxes.get(id)!.enter - found.enter;
    put(scene, graph.nodes[id].children, boxes, found, x, scene.y[id] + FRAME.header);
    const carried = loops.get(id);
    if (carried) scene.ways.push(around(scene, id, found, x, carried));
  }
  return scene;
}

/** The box of an open container around what is in it; its ports stay where they are inside. */
function framed(id: number, found: Arranged, header: number, loop: boolean): Box {
  const left = FRAME.pad + (loop ? LOOP : 0);
  const spare = Math.max(0, header - found.width - left - FRAME.pad);
  const width = found.width + left + FRAME.pad + spare;
  const shift = left + spare / 2;
  return { id, width, height: found.height + FRAME.header + FRAME.foot, enter: shift + found.enter, leave: shift + found.leave };
}

function put(scene: Scene, ids: number[], boxes: Map<number, Box>, found: Arranged, x: number, y: number): void {
  ids.forEach((id, i) => {
    const box = boxes.get(id)!;
    scene.x[id] = x + found.x[i];
    scene.y[id] = y + found.y[i];
    scene.width[id] = box.width;
    scene.height[id] = box.height;
  });
  for (const { link, points, square } of found.routes) {
    for (let k = 0; k < points.length; k += 2) [points[k], points[k + 1]] = [points[k] + x, points[k + 1] + y];
    scene.ways.push(bounded({ link, points, square, loop: false }));
  }
}

/** From the lower port of a folded block up beside it to the upper: one instance feeds the next. */
function around(scene: Scene, id: number, found: Arranged, x: number, edges: number[]): Way {
  const top = scene.y[id] + FRAME.header;
  const bottom = scene.y[id] + scene.height[id] - FRAME.foot;
  const side = scene.x[id] + FRAME.pad - 2;
  const link: Link = { container: id, source: -2, target: -1, edges, carried: true };
  const points = [x + found.leave, bottom - 8, side, bottom - 8, side, top + 8, x + found.enter, top + 8];
  return bounded({ link, points, square: true, loop: true });
}

function bounded(way: Pick<Way, 'link' | 'points' | 'square' | 'loop'>): Way {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k < way.points.length; k += 2) {
    const [x, y] = [way.points[k], way.points[k + 1]];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return { ...way, left, top, right, bottom };
}
