// What feeds a node, what it feeds, and the shortest way between two: over edges of leaves, at any folding.
import type { Graph } from './model';

export interface Neighbours { after: number[][]; before: number[][] }

/** The edges out of and into each node, by number; hub edges only on demand, for they join everything to everything. */
export function neighbours(graph: Graph, hubs: boolean): Neighbours {
  const after: number[][] = graph.nodes.map(() => []);
  const before: number[][] = graph.nodes.map(() => []);
  graph.edges.forEach((edge, e) => {
    if (edge.hub && !hubs) return;
    after[edge.source].push(e);
    before[edge.target].push(e);
  });
  return { after, before };
}

/** `id` and everything inside of it. */
export function within(graph: Graph, id: number): number[] {
  const out = [id];
  for (let i = 0; i < out.length; i++) for (const child of graph.nodes[out[i]].children) out.push(child);
  return out;
}

/** Every node that a path from `id` reaches, along the flow or against it, and the edges of those paths. */
export function reached(graph: Graph, { after, before }: Neighbours, id: number, along: boolean): { nodes: Set<number>; edges: Set<number> } {
  const queue = within(graph, id);
  const nodes = new Set(queue);
  const edges = new Set<number>();
  for (let i = 0; i < queue.length; i++) {
    for (const e of (along ? after : before)[queue[i]]) {
      const next = along ? graph.edges[e].target : graph.edges[e].source;
      edges.add(e);
      if (!nodes.has(next)) {
        nodes.add(next);
        queue.push(next);
      }
    }
  }
  return { nodes, edges };
}

/** The fewest edges from anything in `from` to anything in `to`, along the flow; null where no path is. */
export function shortest(graph: Graph, { after }: Neighbours, from: number, to: number): { nodes: Set<number>; edges: Set<number> } | null {
  const goal = new Set(within(graph, to));
  const queue = within(graph, from).filter((n) => !goal.has(n));
  const by = new Map<number, number>(queue.map((n) => [n, -1]));
  for (let i = 0; i < queue.length; i++) {
    for (const e of after[queue[i]]) {
      const next = graph.edges[e].target;
      if (by.has(next)) continue;
      by.set(next, e);
      if (goal.has(next)) return trail(graph, by, next);
      queue.push(next);
    }
  }
  return null;
}

function trail(graph: Graph, by: Map<number, number>, end: number): { nodes: Set<number>; edges: Set<number> } {
  const nodes = new Set([end]);
  const edges = new Set<number>();
  for (let e = by.get(end)!; e >= 0; e = by.get(graph.edges[e].source)!) {
    edges.add(e);
    nodes.add(graph.edges[e].source);
  }
  return { nodes, edges };
}
