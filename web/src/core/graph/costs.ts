// What nodes cost in the whole network, folds multiplied out, and any other numbers that nodes carry.
import { num } from '../contract';
import type { Graph, GraphNode } from './model';

export type Cost = 'parameters' | 'flops' | 'activationBytes';
export const COSTS: [Cost, string][] = [['parameters', 'Parameters'], ['flops', 'FLOPs'], ['activationBytes', 'Activations']];

/** How often what is counted in `id` counts: the weights of a module that runs again and again count once. */
function weight(node: GraphNode, cost: Cost): number {
  return node.repeat === 'recurrence' && cost === 'parameters' ? 1 : node.times;
}

/** The cost of every node with all its instances, in the order of nodes. */
export function totals(graph: Graph, cost: Cost): Float64Array {
  const factor = new Float64Array(graph.nodes.length);
  const out = new Float64Array(graph.nodes.length);
  for (const node of graph.nodes) {
    factor[node.id] = (node.parent < 0 ? 1 : factor[node.parent]) * weight(node, cost);
    out[node.id] = node[cost] * factor[node.id];
  }
  return out;
}

/** Names of the numbers that nodes carry besides their costs: the user's own first, then numeric attributes. */
export function numbersOf(graph: Graph): string[] {
  const names = new Set(Object.keys(graph.values));
  for (const node of graph.nodes) for (const [name, value] of Object.entries(node.attributes)) if (typeof value === 'number') names.add(name);
  return [...names];
}

/** The numbers of that name; NaN where a node has none. */
export function valuesOf(graph: Graph, name: string): Float64Array {
  const own = graph.values[name];
  return Float64Array.from(graph.nodes, (n) => {
    if (own) return own[n.id] === null ? NaN : num(own[n.id]);
    const value = n.attributes[name];
    return typeof value === 'number' ? value : NaN;
  });
}
