// Lists of nodes: the tree as it is open, and modules by what they cost.
import type { Open } from './fold';
import { COSTS, totals, type Cost } from './costs';
import type { Graph } from './model';

export interface TreeRow { id: number; level: number; position: number; of: number }

/** The visible nodes as a tree, depth first, each with its place among its siblings. */
export function treeRows(graph: Graph, open: Open): TreeRow[] {
  const out: TreeRow[] = [];
  const stack: TreeRow[] = [];
  const push = (ids: number[], level: number) => {
    for (let i = ids.length - 1; i >= 0; i--) stack.push({ id: ids[i], level, position: i + 1, of: ids.length });
  };
  push(graph.roots, 1);
  for (let row = stack.pop(); row; row = stack.pop()) {
    out.push(row);
    if (open.has(row.id)) push(graph.nodes[row.id].children, row.level + 1);
  }
  return out;
}

export interface CostRow { id: number; values: Record<Cost, number> }

/** Modules, and what else costs something, with their costs in the whole network. */
export function costRows(graph: Graph): CostRow[] {
  const columns = COSTS.map(([key]) => [key, totals(graph, key)] as const);
  const counted = graph.nodes.filter((n) => n.role === 'module' || n.flops > 0 || (graph.reading === 'autograd' && n.activationBytes > 0));
  return counted.map(({ id }) => ({ id, values: Object.fromEntries(columns.map(([key, values]) => [key, values[id]])) as Record<Cost, number> }));
}

export function sortedBy(rows: CostRow[], key: Cost | 'order'): CostRow[] {
  return key === 'order' ? rows : [...rows].sort((a, b) => b.values[key] - a.values[key] || a.id - b.id);
}
