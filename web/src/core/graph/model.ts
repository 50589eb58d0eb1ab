// The graph of a network as the page works with it: the block's columns as nodes and edges, children, depths.
import { loadArray } from '../blobs';
import type { GraphData, GraphLayout, GraphRole, GraphTensor, GraphTotals, Meta, ModelGraphPanel, Num } from '../contract';

export type Repeat = '' | 'repetition' | 'parallel' | 'recurrence';

export interface GraphNode {
  id: number; parent: number; role: GraphRole; name: string; type: string; code: string;
  /** The name without that of the module around it. */
  label: string;
  times: number; repeat: Repeat; members: string[]; outputs: GraphTensor[];
  parameters: number; trainable: number; parameterBytes: number; flops: number; activationBytes: number; operations: number;
  shares: string[]; assumed: string[]; error: string; attributes: Meta;
  depth: number; children: number[]; layout: GraphLayout;
}

export interface GraphEdge {
  source: number; target: number; output: number; tensor: GraphTensor | null; argument: string; fold: string; hub: boolean;
}

export interface Graph {
  reading: 'forward' | 'autograd'; complete: boolean; totals: GraphTotals;
  nodes: GraphNode[]; edges: GraphEdge[]; roots: number[]; layout: GraphLayout;
  /** What is open at first. */
  open: number[];
  /** Numbers of the user's own, one for each node or null. */
  values: Record<string, (Num | null)[]>;
  /** The type of most tensors on edges: said once, and on an edge only where it is another. */
  dtype: string;
  hubs: number;
}

const EMPTY: GraphLayout = { rows: [], trunks: [], back: [] };

/** The graph of a panel, decoded. */
export async function loadGraph(panel: ModelGraphPanel): Promise<Graph> {
  const { data } = await loadArray(panel.graph);
  return readGraph(panel, JSON.parse(new TextDecoder().decode(data as Uint8Array)) as GraphData);
}

export function readGraph(panel: Pick<ModelGraphPanel, 'reading' | 'complete' | 'totals'>, data: GraphData): Graph {
  const nodes = readNodes(data);
  const edges = readEdges(data, nodes.length);
  return {
    reading: panel.reading, complete: panel.complete, totals: panel.totals, nodes, edges,
    roots: nodes.filter((n) => n.parent < 0).map((n) => n.id), layout: data.layouts[data.root] ?? EMPTY,
    open: data.open, values: data.values,
    dtype: commonest(edges.map((e) => e.tensor?.dtype ?? '')), hubs: edges.filter((e) => e.hub).length,
  };
}

function readNodes({ nodes: column, rare, texts, tensors, layouts }: GraphData): GraphNode[] {
  const nodes: GraphNode[] = [];
  column.parent.forEach((parent, id) => {
    if (parent >= id) throw new Error(`node ${id} stands before its parent ${parent}`);
    const around = nodes[parent];
    const name = column.name[id];
    nodes.push({
      id, parent, role: texts[column.role[id]] as GraphRole, name, type: texts[column.type[id]], code: rare.code?.[id] ?? '',
      label: inside(name, around?.name ?? ''), times: column.times[id], repeat: (rare.repeat?.[id] ?? '') as Repeat,
      members: rare.members?.[id] ?? [], outputs: column.outputs[id].map((t) => tensors[t]).filter(Boolean),
      parameters: column.parameters[id], trainable: column.trainable[id], parameterBytes: column.parameter_bytes[id],
      flops: column.flops[id], activationBytes: column.activation_bytes[id], operations: column.operations[id],
      shares: rare.shares?.[id] ?? [], assumed: rare.assumed?.[id] ?? [], error: rare.error?.[id] ?? '',
      attributes: rare.attributes?.[id] ?? {},
      depth: around ? around.depth + 1 : 0, children: [], layout: layouts[column.layout[id]] ?? EMPTY,
    });
    around?.children.push(id);
  });
  return nodes;
}

function readEdges({ edges: column, texts, tensors }: GraphData, count: number): GraphEdge[] {
  return column.source.map((source, e) => {
    const target = column.target[e];
    if (!(source >= 0 && source < count && target >= 0 && target < count)) throw new Error(`an edge joins ${source} and ${target}, of ${count} nodes`);
    return {
      source, target, output: column.output[e], tensor: tensors[column.tensor[e]] ?? null,
      argument: texts[column.argument[e]], fold: texts[column.fold[e]], hub: column.hub[e] > 0,
    };
  });
}

function inside(name: string, around: string): string {
  return around && name.length > around.length + 1 && name.startsWith(`${around}.`) ? name.slice(around.length + 1) : name;
}

function commonest(texts: string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) if (text) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), ['', 0] as [string, number])[0];
}

/** Whether `inner` is `outer` or lies inside of it. */
export function isWithin(graph: Graph, inner: number, outer: number): boolean {
  let at = inner;
  while (at > outer) at = graph.nodes[at].parent;
  return at === outer;
}

/** How often a node is in the whole network: its own folds times those around it. */
export function instances(graph: Graph, id: number): number {
  let count = 1;
  for (let at = id; at >= 0; at = graph.nodes[at].parent) count *= graph.nodes[at].times;
  return count;
}
