// What enters and what leaves a node, from wherever it comes: tensors over its border, one line for each.
import type { GraphTensor } from '../contract';
import { isWithin, type Graph } from './model';

export interface Flow { other: number; tensor: GraphTensor | null; argument: string; hub: boolean; fold: string }

export function flowsOf(graph: Graph, id: number): { takes: Flow[]; gives: Flow[] } {
  const takes = new Map<string, Flow>();
  const gives = new Map<string, Flow>();
  for (const edge of graph.edges) {
    const from = isWithin(graph, edge.source, id);
    const to = isWithin(graph, edge.target, id);
    if (from === to) continue;
    const other = from ? edge.target : edge.source;
    const key = `${edge.source} ${edge.output} ${from ? other : ''}`;
    (from ? gives : takes).set(key, { other, tensor: edge.tensor, argument: edge.argument, hub: edge.hub, fold: edge.fold });
  }
  return { takes: [...takes.values()], gives: [...gives.values()] };
}
