// The picture on a canvas: what is in the window, in as much detail as the scale allows.
import { seen, type Camera, type Rect, type Size } from './camera';
import { overlaps } from './hit';
import type { HubLink } from './lift';
import type { Graph } from './model';
import { paintBoxes, paintGrounds, paintMarks, paintOutline } from './paint-boxes';
import { paintHubs, paintLabels, paintWays } from './paint-ways';
import type { Scene, Way } from './scene';
import type { Measure, NodeText } from './texts';
import type { Colours, Paint } from './tints';

/** Whatever does not change while one pans and zooms. */
export interface Picture {
  graph: Graph; scene: Scene; hubs: HubLink[]; texts: NodeText[]; measure: Measure;
  /** By node: something in it failed (2) or had to be assumed (1). */
  trouble: Uint8Array;
}

export interface Look {
  colours: Colours; paint: Paint; font: string;
  /** Nodes and edges of a path; everything else is faint. */
  path: { nodes: Set<number>; edges: Set<number> } | null;
  /** Visible nodes that hold a match of the search, and the match itself. */
  matches: Set<number> | null;
  selected: number; hovered: number;
}

export interface Canvas {
  c: CanvasRenderingContext2D; picture: Picture; look: Look; scale: number;
  /** Visible nodes and ways in the window. */
  nodes: number[]; ways: Way[]; rect: Rect;
}

export function paint(c: CanvasRenderingContext2D, picture: Picture, look: Look, camera: Camera, window: Size, ratio: number): void {
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.fillStyle = look.colours.page;
  c.fillRect(0, 0, window.width, window.height);
  c.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale, ratio * camera.x, ratio * camera.y);
  const canvas = culled(c, picture, look, camera.scale, seen(camera, window));
  paintGrounds(canvas);
  paintWays(canvas);
  paintLabels(canvas); // what is written beside a box never covers another
  paintBoxes(canvas);
  paintHubs(canvas);
  paintOutline(canvas);
  paintMarks(canvas);
}

const REACH = 12; // cards and marks stand out of their boxes

function culled(c: CanvasRenderingContext2D, picture: Picture, look: Look, scale: number, rect: Rect): Canvas {
  const { scene } = picture;
  const { x, y, width, height } = scene;
  const nodes = scene.visible.nodes.filter((id) => overlaps(rect, x[id] - REACH, y[id] - REACH, width[id] + 2 * REACH, height[id] + 2 * REACH));
  const ways = scene.ways.filter((w) => overlaps(rect, w.left - REACH, w.top, w.right - w.left + 2 * REACH, w.bottom - w.top));
  return { c, picture, look, scale, nodes, ways, rect };
}

/** What in the graph is troubled, told also by everything around it. */
export function troubles(graph: Graph): Uint8Array {
  const out = new Uint8Array(graph.nodes.length);
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id];
    out[id] = Math.max(out[id], node.error ? 2 : node.assumed.length ? 1 : 0);
    if (node.parent >= 0) out[node.parent] = Math.max(out[node.parent], out[id]);
  }
  return out;
}

/** Whether a visible node has part in the path: itself, or for a closed module something inside. */
export function onPath({ picture, look }: Canvas): (id: number) => boolean {
  if (!look.path) return () => true;
  const { standsFor } = picture.scene.visible;
  const touched = new Set<number>();
  for (const node of look.path.nodes) {
    for (let at = standsFor[node]; at >= 0 && !touched.has(at); at = picture.graph.nodes[at].parent) touched.add(at);
  }
  return (id) => touched.has(id);
}
