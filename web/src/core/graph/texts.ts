// What is written on boxes and links, and how large boxes have to be for it.
import { shape } from '../numbers';
import type { GraphTensor } from '../contract';
import type { Graph, GraphEdge, GraphNode } from './model';
import type { Sizes } from './scene';

export const FONT = { title: 13, sub: 12, label: 11 };
const WIDEST = 230;
const LONGEST = 300; // characters: no more of a name is ever measured or drawn

export interface NodeText { title: string; sub: string; badge: string }
export type Measure = (text: string, size: number, bold: boolean) => number;

/** Large boxes have two lines, small ones one. */
export function isLarge(node: GraphNode): boolean {
  return node.role === 'module' || node.role === 'parameter' || node.role === 'buffer' || node.role === 'leaf' || node.role === 'saved';
}

export function textOf(graph: Graph, node: GraphNode): NodeText {
  const badge = node.times > 1 ? `× ${node.times}` : '';
  if (node.role === 'module') return { title: plain(nameOf(graph, node)) || node.role, sub: plain(node.type), badge };
  if (isLarge(node) || node.role === 'output') {
    const tensor = node.outputs[0];
    return { title: plain(node.label || node.type), sub: isLarge(node) ? (tensor ? shape(tensor.shape) : plain(node.type)) : '', badge };
  }
  return { title: plain(node.role === 'input' ? node.label || node.type : node.type || node.label), sub: '', badge };
}

/** The label of a node; of a folded one its first and its last instance. */
export function nameOf(graph: Graph, node: GraphNode): string {
  const run = node.members.length === 1 ? node.members[0].split(' … ') : [];
  if (run.length !== 2) return node.label || node.type;
  const around = node.parent >= 0 ? `${graph.nodes[node.parent].name}.` : '';
  const shared = around && run.every((r) => r.startsWith(around)) ? around : run[0].slice(0, run[0].lastIndexOf('.') + 1);
  const cut = (text: string) => (text.startsWith(shared) ? text.slice(shared.length) : text);
  const first = shared === around ? cut(run[0]) : run[0];
  return `${first} … ${cut(run[1])}`;
}

/** One line without characters that turn or hide text; long ones cut. */
function plain(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g, ' ').trim();
  return clean.length > LONGEST ? `${clean.slice(0, LONGEST)}…` : clean;
}

/** `text` in at most `room`, its middle left out if need be: both ends of a name tell. */
export function fitted(text: string, room: number, width: (text: string) => number): string {
  if (width(text) <= room) return text;
  const letters = [...text];
  let [low, high] = [0, letters.length - 1];
  const cut = (n: number) => `${letters.slice(0, Math.ceil(n / 2)).join('')}…${n > 1 ? letters.slice(letters.length - Math.floor(n / 2)).join('') : ''}`;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (width(cut(middle)) <= room) low = middle;
    else high = middle - 1;
  }
  return low ? cut(low) : '';
}

/** Widths of text, each letter measured once. */
export function measurer(context: { font: string; measureText(text: string): { width: number } }, family: string): Measure {
  const known = new Map<string, number>();
  return (text, size, bold) => {
    let sum = 0;
    for (const letter of text) {
      const key = bold ? `*${letter}` : letter;
      let width = known.get(key);
      if (width === undefined) {
        context.font = `${bold ? 600 : 400} 100px ${family}`;
        known.set(key, (width = context.measureText(letter).width / 100));
      }
      sum += width;
    }
    return sum * size;
  };
}

export const BOX = { large: 44, small: 28, pad: 12, chevron: 18, badge: 22, header: 34 };

export function sizesOf(graph: Graph, measure: Measure): Sizes {
  const text = graph.nodes.map((n) => textOf(graph, n));
  const badge = (id: number) => (text[id].badge ? BOX.badge + measure(text[id].badge, FONT.label, true) + 8 : 0);
  const title = (id: number) => Math.min(WIDEST, measure(text[id].title, FONT.title, true));
  return {
    closed(id) {
      const node = graph.nodes[id];
      const chevron = node.children.length ? BOX.chevron : 0;
      const line = Math.max(title(id) + badge(id), Math.min(WIDEST, measure(text[id].sub, FONT.sub, false)));
      const width = Math.max(isLarge(node) ? 92 : 48, line + 2 * BOX.pad + chevron);
      return { width: Math.ceil(width), height: isLarge(node) ? BOX.large : BOX.small };
    },
    header: (id) => title(id) + badge(id) + 8 + Math.min(WIDEST, measure(text[id].sub, FONT.sub, false)) + BOX.chevron + 2 * BOX.pad,
  };
}

export function tensorText(tensor: GraphTensor, common: string): string {
  const size = tensor.shape.length ? tensor.shape.join('×') : 'scalar';
  return tensor.dtype && tensor.dtype !== common ? `${size} ${tensor.dtype}` : size;
}

/** What flows on a link: its shape, or how many tensors. */
export function linkText(edges: GraphEdge[], common: string): string {
  const sizes = new Set<string>();
  const flows = new Set<string>();
  for (const e of edges) {
    if (!e.tensor) continue;
    sizes.add(tensorText(e.tensor, common));
    flows.add(`${e.source} ${e.output}`);
  }
  const [only] = sizes;
  if (!only) return '';
  if (flows.size === 1) return only;
  return sizes.size === 1 ? `${flows.size} of ${only}` : `${flows.size} tensors`;
}
