// Which modules are open, and what is visible then. Open sets are never changed, always made anew.
import type { Graph } from './model';

export type Open = ReadonlySet<number>;

export interface Visible {
  /** Visible nodes in the order of execution, containers before what is inside. */
  nodes: number[];
  /** For every node the visible one that stands for it: itself, or the closed module around it. */
  standsFor: Int32Array;
}

export function visible(graph: Graph, open: Open): Visible {
  const nodes: number[] = [];
  const standsFor = new Int32Array(graph.nodes.length);
  for (const { id, parent } of graph.nodes) {
    const shown = parent < 0 || (standsFor[parent] === parent && open.has(parent));
    standsFor[id] = shown ? id : standsFor[parent];
    if (shown) nodes.push(id);
  }
  return { nodes, standsFor };
}

/** Every container less deep than `depth`. */
export function openTo(graph: Graph, depth: number): Set<number> {
  return new Set(graph.nodes.filter((n) => n.children.length > 0 && n.depth < depth).map((n) => n.id));
}

/** How many levels there are. */
export function levels(graph: Graph): number {
  return graph.nodes.reduce((most, n) => Math.max(most, n.depth + 1), 0);
}

/** Down to which level everything is open. */
export function levelOf(graph: Graph, open: Open): number {
  return graph.nodes.reduce((least, n) => (n.children.length && !open.has(n.id) ? Math.min(least, n.depth) : least), levels(graph) - 1);
}

export function toggled(open: Open, id: number, wanted = !open.has(id)): Set<number> {
  const next = new Set(open);
  if (wanted) next.add(id);
  else next.delete(id);
  return next;
}

/** `open` and whatever has to be opened for `id` to be seen. */
export function revealing(graph: Graph, open: Open, id: number): Open {
  let next: Set<number> | null = null;
  for (let at = graph.nodes[id].parent; at >= 0; at = graph.nodes[at].parent) {
    if (!open.has(at)) (next ??= new Set(open)).add(at);
  }
  return next ?? open;
}
