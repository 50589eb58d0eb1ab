// Edges between leaves, lifted to what is visible: in every open container the links between its children and its ports.
import type { Visible } from './fold';
import { isWithin, type Graph } from './model';

/** The upper and the lower port of a container, where links cross its border. */
export const TOP = -1;
export const BOTTOM = -2;

export interface Link {
  container: number; source: number; target: number;
  /** The edges that it stands for. */
  edges: number[];
  /** All its edges go from one instance of a folded block to the next. */
  carried: boolean;
}

export interface Lifted {
  /** By container, -1 for the whole. */
  links: Map<number, Link[]>;
  /** Folded containers whose instances feed one another, with the edges that do. */
  loops: Map<number, number[]>;
}

/** Links of everything but hub edges, which are set aside. */
export function lift(graph: Graph, { standsFor }: Visible): Lifted {
  const found = new Map<number, Map<number, Link>>();
  const loops = new Map<number, number[]>();
  const span = graph.nodes.length + 2;
  const { nodes } = graph;

  function add(container: number, source: number, target: number, edge: number, carried: boolean): void {
    let here = found.get(container);
    if (!here) found.set(container, (here = new Map()));
    const key = (source + 2) * span + target + 2;
    const link = here.get(key);
    if (!link) here.set(key, { container, source, target, edges: [edge], carried });
    else {
      link.edges.push(edge);
      link.carried &&= carried;
    }
  }
  function climb(from: number, to: number, edge: number): void {
    let a = from;
    let b = to;
    while (nodes[a].parent !== nodes[b].parent) {
      if (nodes[a].depth >= nodes[b].depth) a = step(a, BOTTOM, edge, false);
      else b = step(b, TOP, edge, false);
    }
    if (a !== b) add(nodes[a].parent, a, b, edge, false);
  }
  function step(id: number, port: number, edge: number, carried: boolean): number {
    const around = nodes[id].parent;
    if (port === TOP) add(around, TOP, id, edge, carried);
    else add(around, id, BOTTOM, edge, carried);
    return around;
  }
  function loop(around: number, from: number, to: number, edge: number): void {
    if (!loops.has(around)) loops.set(around, []);
    loops.get(around)!.push(edge);
    for (let a = from; a !== around; ) a = step(a, BOTTOM, edge, true);
    for (let b = to; b !== around; ) b = step(b, TOP, edge, true);
  }

  graph.edges.forEach((edge, e) => {
    if (edge.hub) return;
    const from = standsFor[edge.source];
    const to = standsFor[edge.target];
    const around = edge.fold === 'carried' ? foldAround(graph, edge.source, edge.target) : -1;
    if (around >= 0) {
      if (standsFor[around] === around && from !== around && to !== around) loop(around, from, to, e);
    } else if (from !== to) climb(from, to, e);
  });
  return { links: new Map([...found].map(([container, here]) => [container, [...here.values()]])), loops };
}

export interface HubLink { source: number; target: number; edges: number[] }

/** Hub edges between visible nodes: of everything, or of what is or lies in `of`. */
export function hubLinks(graph: Graph, { standsFor }: Visible, of: number | 'all'): HubLink[] {
  const found = new Map<number, HubLink>();
  graph.edges.forEach((edge, e) => {
    if (!edge.hub) return;
    if (of !== 'all' && !isWithin(graph, edge.source, of) && !isWithin(graph, edge.target, of)) return;
    const [source, target] = [standsFor[edge.source], standsFor[edge.target]];
    const key = source * graph.nodes.length + target;
    if (found.has(key)) found.get(key)!.edges.push(e);
    else if (source !== target) found.set(key, { source, target, edges: [e] });
  });
  return [...found.values()];
}

/** The innermost folded node that holds both, -1 where there is none. */
export function foldAround(graph: Graph, a: number, b: number): number {
  let [one, other] = [a, b];
  while (one !== other) {
    if (one < 0 || other < 0) return -1;
    if (graph.nodes[one].depth >= graph.nodes[other].depth) one = graph.nodes[one].parent;
    else other = graph.nodes[other].parent;
  }
  while (one >= 0 && graph.nodes[one].times <= 1) one = graph.nodes[one].parent;
  return one;
}
