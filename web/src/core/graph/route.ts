// The ways of links between placed boxes: down through the gaps, along trunks where rows are passed, up beside the rows.
import type { GraphLayout } from '../contract';
import type { Box, Items } from './arrange';
import type { Link } from './lift';

export interface Frame {
  boxes: Box[]; layout: GraphLayout; items: Items; anchors: Float64Array; left: number[]; y: number[];
  /** Upper and lower end of each row. */
  top: number[]; bottom: number[];
}

/** Points x, y, …: curves with upright ends from each to the next, or straight lines with round corners. */
export interface Route { link: Link; points: number[]; square: boolean }

const SIDE = 14; // between ways beside the rows
const PORT = 11; // between links that enter one box
const TURN = 12; // how far a way goes before it turns to the side

export function routed(frame: Frame, links: Link[], ends: [number, number][]): Route[] {
  const { row } = frame.items;
  const sides = extent(frame);
  const way = new Map(frame.layout.trunks.map(([source, , , column], k) => [source, { k, column }]));
  const up = new Map(frame.layout.back.map(([a, b, column]) => [`${a} ${b}`, column]));
  const routes = links.map((link, i): Route => {
    const [a, b] = ends[i];
    if (row[b] <= row[a]) return { link, points: backward(frame, a, b, sides[0] - SIDE * (up.get(`${a} ${b}`) ?? 1)), square: true };
    const trunk = way.get(row[a] === 0 ? -1 : a);
    const passed = row[b] > row[a] + 1 && trunk ? passage(frame, trunk, sides[1], row[a] + 1, row[b] - 1) : [];
    return { link, points: [...start(frame, a), ...passed, ...end(frame, b)], square: false };
  });
  spread(frame, routes, ends);
  return routes;
}

function start({ boxes, anchors, y, bottom }: Frame, a: number): [number, number] {
  const box = boxes[a];
  return box ? [anchors[a] - box.enter + box.leave, y[a] + box.height] : [anchors[a], bottom[0]];
}
function end({ boxes, anchors, y, top }: Frame, b: number): [number, number] {
  return boxes[b] ? [anchors[b], y[b]] : [anchors[b], top[top.length - 1]];
}

/** The left and the right end of all rows. */
function extent({ boxes, left, anchors }: Frame): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  boxes.forEach((b, i) => [least, most] = [Math.min(least, left[i]), Math.max(most, left[i] + b.width)]);
  for (let i = boxes.length; i < anchors.length; i++) [least, most] = [Math.min(least, anchors[i]), Math.max(most, anchors[i])];
  return [least, most];
}

function passage({ items, anchors, top, bottom }: Frame, trunk: { k: number; column: number }, right: number, first: number, last: number): number[] {
  if (trunk.column) return [right + SIDE * trunk.column, top[first], right + SIDE * trunk.column, bottom[last]];
  const points: number[] = [];
  for (let r = first; r <= last; r++) {
    const item = items.passing[trunk.k].get(r);
    if (item === undefined) continue;
    const x = anchors[item];
    const n = points.length;
    if (n && points[n - 2] === x) points[n - 1] = bottom[r]; // straight on
    else points.push(x, top[r], x, bottom[r]);
  }
  return points;
}

function backward(frame: Frame, a: number, b: number, x: number): number[] {
  const [x1, y1] = start(frame, a);
  const [x2, y2] = end(frame, b);
  return [x1, y1, x1, y1 + TURN, x, y1 + TURN, x, y2 - TURN, x2, y2 - TURN, x2, y2];
}

/** Links that enter one box do so side by side, in the order in which they come; the straightest keeps the middle. */
function spread({ boxes, items }: Frame, routes: Route[], ends: [number, number][]): void {
  const entering = new Map<number, { route: Route; from: number }[]>();
  routes.forEach((route, i) => {
    const box = ends[i][1];
    if (!boxes[box]) return;
    if (!entering.has(box)) entering.set(box, []);
    const { points } = route;
    entering.get(box)!.push({ route, from: items.row[ends[i][0]] >= items.row[box] ? -Infinity : points[points.length - 4] });
  });
  for (const [b, list] of entering) {
    if (list.length < 2) continue;
    list.sort((p, q) => p.from - q.from);
    const box = boxes[b];
    const x = list[0].route.points.at(-2)!;
    const middle = list.reduce((best, one, k) => (Math.abs(one.from - x) < Math.abs(list[best].from - x) ? k : best), 0);
    const room = Math.min(box.enter, box.width - box.enter) - 8;
    const step = Math.min(PORT, room / Math.max(middle, list.length - 1 - middle, 1));
    list.forEach(({ route }, k) => shift(route, (k - middle) * step));
  }
}

function shift({ points, square }: Route, by: number): void {
  points[points.length - 2] += by;
  if (square) points[points.length - 4] += by;
}
