// The inside of one container: rows and their order are given, boxes have their sizes; here they become coordinates.
import type { GraphLayout } from '../contract';
import { BOTTOM, TOP, type Link } from './lift';
import { placed, type Slot } from './place';
import { routed, type Frame, type Route } from './route';

/** A child of the container: its size, and where links enter and leave it, from its left side. */
export interface Box { id: number; width: number; height: number; enter: number; leave: number }

export interface Arranged {
  width: number; height: number;
  /** Upper left corners of the boxes. */
  x: number[]; y: number[];
  /** Where the ports are, from the left side. */
  enter: number; leave: number;
  routes: Route[];
}

export const GAP = { across: 22, trunk: 12, down: 36, port: 22 };
const SWEEPS = 6;
// how much a way that passes rows wants to be straight, to be near its ends, and how little those care: the main path of
// direct links is what they stand on
const [STRAIGHT, NEAR, FAR] = [8, 0.25, 0.01];
const YIELD = 1e-6; // of ways that pass a row, beside its boxes: they go where those leave room

/** What has a place in a row: boxes by their place, then the two ports, then each trunk once for each row it passes. */
export interface Items {
  rows: number[][];
  row: number[];
  /** The item of trunk `k` in row `r`. */
  passing: Map<number, number>[];
}

export function arrange(boxes: Box[], layout: GraphLayout, links: Link[]): Arranged {
  const items = itemsOf(boxes.length, layout);
  const place = new Map(boxes.map((b, i) => [b.id, i]));
  place.set(TOP, boxes.length);
  place.set(BOTTOM, boxes.length + 1);
  const ends = links.map((l) => [place.get(l.source)!, place.get(l.target)!] as [number, number]);
  const anchors = settled(boxes, layout, items, ends);
  straighten(boxes, items, anchors);
  const rows = stacked(boxes, items);
  const left = boxes.map((b, i) => anchors[i] - b.enter);
  const y = boxes.map((b, i) => (rows.top[items.row[i]] + rows.bottom[items.row[i]] - b.height) / 2);
  const frame: Frame = { boxes, layout, items, anchors, left, y, ...rows };
  return shifted(frame, routed(frame, links, ends));
}

function itemsOf(count: number, layout: GraphLayout): Items {
  const rows: number[][] = [[count]];
  const row = new Array<number>(count).fill(1);
  row.push(0, layout.rows.length + 1);
  const passing = layout.trunks.map(() => new Map<number, number>());
  layout.rows.forEach((line, r) => {
    rows.push(line.filter((item) => item < count).map((item) => {
      if (item >= 0) return (row[item] = r + 1), item;
      passing[-1 - item].set(r + 1, row.length);
      return row.push(r + 1) - 1;
    }));
  });
  rows.push([count + 1]);
  return { rows, row, passing };
}

type Pull = [item: number, strength: number];

/** Between which items links pull, above and below each of them. */
function pulls(layout: GraphLayout, { row, passing }: Items, ends: [number, number][]): { above: Pull[][]; below: Pull[][] } {
  const above: Pull[][] = row.map(() => []);
  const below: Pull[][] = row.map(() => []);
  const join = (a: number, b: number, onA: number, onB: number) => {
    below[a].push([b, onA]);
    above[b].push([a, onB]);
  };
  const way = new Map(layout.trunks.map(([source], k) => [source, passing[k]]));
  for (const [a, b] of ends) {
    if (row[b] === row[a] + 1) join(a, b, 1, 1);
    else if (row[b] > row[a]) {
      const last = way.get(port(a, row))?.get(row[b] - 1);
      if (last !== undefined) join(last, b, NEAR, FAR);
    }
  }
  for (const [source, on] of way) {
    const from = source < 0 ? row.length : source;
    for (const [r, item] of on) {
      const before = on.get(r - 1);
      if (before !== undefined) join(before, item, STRAIGHT, STRAIGHT);
      else if (from < row.length) join(from, item, FAR, NEAR);
    }
  }
  return { above, below };
}

/** The layout's name of an item: the upper port is the border, -1. */
function port(item: number, row: number[]): number {
  return row[item] === 0 ? -1 : item;
}

/** Anchors by sweeps: every row moves to the mean of its neighbours above, then below, at last of both. */
function settled(boxes: Box[], layout: GraphLayout, items: Items, ends: [number, number][]): Float64Array {
  const { rows, row } = items;
  const anchors = new Float64Array(row.length);
  const { above, below } = pulls(layout, items, ends);
  const bend = (i: number) => (i < boxes.length ? boxes[i].leave - boxes[i].enter : 0); // where it leaves, from where it enters
  function slot(i: number, up: boolean, down: boolean): Slot {
    const near = [0, 0]; // weighted sum and weight of direct links and straight ways; below, of everything else
    const far = [0, 0];
    const add = (x: number, pull: number) => {
      const to = pull > FAR ? near : far;
      to[0] += pull * x;
      to[1] += pull;
    };
    if (up) for (const [j, pull] of above[i]) add(anchors[j] + bend(j), pull);
    if (down) for (const [j, pull] of below[i]) add(anchors[j] - bend(i), pull);
    const [sum, weight] = near[1] ? near : far;
    const box = boxes[i];
    const reach = box ? [box.enter, box.width - box.enter] : i < boxes.length + 2 ? [0, 0] : [GAP.trunk / 2, GAP.trunk / 2];
    return { left: reach[0], right: reach[1], wish: weight ? sum / weight : anchors[i], weight: !weight ? 0.01 : i < boxes.length + 2 ? Math.max(0.1, Math.min(weight, 4)) : YIELD };
  }
  function move(r: number, up: boolean, down: boolean): void {
    const slots = rows[r].map((i) => slot(i, up, down));
    placed(slots, GAP.across).forEach((x, k) => (anchors[rows[r][k]] = x));
  }
  const last = rows.length - 1;
  for (let r = 0; r <= last; r++) move(r, true, false);
  for (let s = 0; s < SWEEPS; s++) {
    const down = s % 2 > 0;
    for (let k = 0; k <= last; k++) move(down ? k : last - k, s > 1 || down, s > 1 || !down);
  }
  for (let r = 1; r <= last; r++) move(r, true, false); // at last chains become straight
  return anchors;
}

/** Ways that pass rows run straight wherever the boxes beside them leave room for it. */
function straighten(boxes: Box[], { rows, passing, row }: Items, anchors: Float64Array): void {
  const place = new Array<number>(row.length);
  for (const line of rows) line.forEach((item, k) => (place[item] = k));
  const left = (i: number) => (boxes[i] ? boxes[i].enter : GAP.trunk / 2);
  const right = (i: number) => (boxes[i] ? boxes[i].width - boxes[i].enter : GAP.trunk / 2);
  for (const on of passing) {
    let [low, high, sum] = [-Infinity, Infinity, 0];
    for (const [r, item] of on) {
      const [before, after] = [rows[r][place[item] - 1], rows[r][place[item] + 1]];
      if (before !== undefined) low = Math.max(low, anchors[before] + right(before) + GAP.trunk);
      if (after !== undefined) high = Math.min(high, anchors[after] - left(after) - GAP.trunk);
      sum += anchors[item];
    }
    const x = Math.min(Math.max(sum / on.size, low), high);
    if (low <= high) for (const item of on.values()) anchors[item] = x;
  }
}

function stacked(boxes: Box[], { rows }: Items): { top: number[]; bottom: number[] } {
  const top: number[] = [];
  const bottom: number[] = [];
  rows.forEach((line, r) => {
    const gap = r === 0 ? 0 : r === 1 || r === rows.length - 1 ? GAP.port : GAP.down;
    top.push(r ? bottom[r - 1] + gap : 0);
    bottom.push(top[r] + line.reduce((most, i) => Math.max(most, boxes[i]?.height ?? 0), 0));
  });
  return { top, bottom };
}

/** Everything moved so that the leftmost thing lies at 0. */
function shifted({ boxes, left, y, bottom, anchors }: Frame, routes: Route[]): Arranged {
  let least = Math.min(anchors[boxes.length], anchors[boxes.length + 1]);
  let most = Math.max(anchors[boxes.length], anchors[boxes.length + 1]);
  boxes.forEach((b, i) => [least, most] = [Math.min(least, left[i]), Math.max(most, left[i] + b.width)]);
  for (const { points } of routes) {
    for (let k = 0; k < points.length; k += 2) [least, most] = [Math.min(least, points[k]), Math.max(most, points[k])];
  }
  for (const { points } of routes) for (let k = 0; k < points.length; k += 2) points[k] -= least;
  return {
    width: most - least, height: bottom[bottom.length - 1], x: left.map((v) => v - least), y,
    enter: anchors[boxes.length] - least, leave: anchors[boxes.length + 1] - least, routes,
  };
}
