// Nodes that answer to what was typed: every word is somewhere in the name, the class, the members or the code.
import type { Graph, GraphNode } from './model';

export function wordsOf(text: string): string[] {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/** Ids of the nodes that match, those with a word at the start of their label or class first. */
export function search(graph: Graph, text: string): number[] {
  const words = wordsOf(text);
  if (!words.length) return [];
  const hits = graph.nodes.filter((n) => matches(n, words)).map((n) => n.id);
  const strong = (id: number) => {
    const { label, type } = graph.nodes[id];
    return words.some((w) => label.toLowerCase().startsWith(w) || type.toLowerCase().startsWith(w));
  };
  return [...hits.filter(strong), ...hits.filter((id) => !strong(id))];
}

const texts = new WeakMap<GraphNode, string>();

function matches(node: GraphNode, words: string[]): boolean {
  let text = texts.get(node);
  if (text === undefined) {
    text = [node.name, node.type, node.role, node.code, ...node.members, ...node.shares, node.error].join('\n').toLowerCase();
    texts.set(node, text);
  }
  return words.every((w) => text.includes(w));
}
