// Boxes: open modules as grounds with a header, everything else as cards with one or two lines.
import { alarm, chevron, repeatMark } from './icons';
import type { GraphNode } from './model';
import { onPath, type Canvas } from './paint';
import { FRAME } from './scene';
import { BOX, FONT, fitted, isLarge } from './texts';
import { mixed, type Tint } from './tints';

export const DETAIL = { text: 0.48, round: 0.22, marks: 0.3 };
const FAINT = 0.22;
const CARD = 4; // by how much the cards of a folded block stand out

/** The ground of an open module, by its depth in turns. */
export function groundOf({ look: { colours } }: Canvas, depth: number): string {
  if (depth < 0) return colours.page;
  return depth % 2 ? mixed(colours.surface, colours.raised, 0.62) : colours.surface;
}

export function paintGrounds(canvas: Canvas): void {
  const { c, picture: { graph, scene }, look: { colours }, scale } = canvas;
  c.lineWidth = Math.max(1, 0.7 / scale);
  for (const id of canvas.nodes) {
    if (!scene.open[id]) continue;
    const [x, y, w, h] = [scene.x[id], scene.y[id], scene.width[id], scene.height[id]];
    const node = graph.nodes[id];
    c.fillStyle = groundOf(canvas, node.depth);
    c.strokeStyle = colours.line;
    if (node.times > 1) for (const d of [2 * CARD, CARD]) shape(canvas, x + d, y - d, w, h, 10);
    shape(canvas, x, y, w, h, 10);
  }
}

function shape({ c, scale }: Canvas, x: number, y: number, w: number, h: number, radius: number): void {
  if (scale < DETAIL.round) {
    c.fillRect(x, y, w, h);
    c.strokeRect(x, y, w, h);
    return;
  }
  c.beginPath();
  c.roundRect(x, y, w, h, Math.min(radius, h / 2));
  c.fill();
  c.stroke();
}

export function paintBoxes(canvas: Canvas): void {
  const { c, picture: { graph, scene }, look: { path } } = canvas;
  const part = onPath(canvas);
  if (canvas.scale < DETAIL.round && !path) return afar(canvas);
  for (const id of canvas.nodes) {
    const node = graph.nodes[id];
    c.globalAlpha = part(id) ? 1 : FAINT;
    if (scene.open[id]) header(canvas, node);
    else box(canvas, node);
  }
  c.globalAlpha = 1;
}

/** From afar the kind is all that can be told: plain boxes, all of one colour at once. */
function afar({ c, picture: { graph, scene }, look, nodes }: Canvas): void {
  const by = new Map<string, number[]>();
  for (const id of nodes) {
    if (scene.open[id]) continue;
    const node = graph.nodes[id];
    const colour = node.error ? look.colours.bad : look.paint(node).far;
    const list = by.get(colour);
    if (list) list.push(id);
    else by.set(colour, [id]);
  }
  for (const [colour, ids] of by) {
    c.fillStyle = colour;
    for (const id of ids) c.fillRect(scene.x[id], scene.y[id], scene.width[id], scene.height[id]);
  }
}

function box(canvas: Canvas, node: GraphNode): void {
  const { c, picture: { scene }, look, scale } = canvas;
  const [x, y, w, h] = [scene.x[node.id], scene.y[node.id], scene.width[node.id], scene.height[node.id]];
  const tint = look.paint(node);
  const failed = node.error !== '';
  c.fillStyle = tint.fill;
  c.strokeStyle = failed ? look.colours.bad : tint.edge;
  c.lineWidth = Math.max(failed ? 2 : 1, 0.6 / scale);
  if (scale < DETAIL.round) {
    c.fillStyle = tint.far;
    c.fillRect(x, y, w, h);
  } else {
    const radius = radiusOf(node, h);
    if (node.times > 1) for (const d of [2 * CARD, CARD]) shape(canvas, x + d, y - d, w, h, radius);
    if (node.role === 'parameter' || node.role === 'buffer' || node.role === 'constant') c.setLineDash([4, 3]);
    shape(canvas, x, y, w, h, radius);
    c.setLineDash([]);
    if (tint.bar) bar(canvas, tint, x, y, h);
  }
  if (scale >= DETAIL.text) lines(canvas, node, tint, x, y, w, h);
  else if (h * scale >= 9) enlarged(canvas, node, x, y, w, h);
}

function radiusOf(node: GraphNode, height: number): number {
  if (node.role === 'input' || node.role === 'output') return height / 2;
  return isLarge(node) ? 7 : 9;
}

function bar({ c }: Canvas, tint: Tint, x: number, y: number, h: number): void {
  c.fillStyle = tint.bar!;
  c.beginPath();
  c.roundRect(x + 4, y + 6, 3, h - 12, 1.5);
  c.fill();
}

function lines(canvas: Canvas, node: GraphNode, tint: Tint, x: number, y: number, w: number, h: number): void {
  const { c, picture: { texts }, look: { font } } = canvas;
  const text = texts[node.id];
  const inner = node.children.length > 0;
  const left = x + BOX.pad + (inner ? BOX.chevron : 0);
  c.textBaseline = 'middle';
  c.fillStyle = tint.text;
  if (isLarge(node)) {
    c.textAlign = 'left';
    write(canvas, text.title, left, y + 15, FONT.title, true);
    c.fillStyle = tint.muted;
    write(canvas, text.sub, left, y + 31, FONT.sub, false);
    if (text.badge) badge(canvas, node, x + w - BOX.pad, y + 15);
  } else {
    c.textAlign = 'center';
    write(canvas, text.title, x + (w + (inner ? BOX.chevron : 0)) / 2, y + h / 2 + 0.5, FONT.sub, node.role === 'input' || node.role === 'output');
  }
  if (inner) mark(c, tint.muted, x + 15, y + h / 2, false);
  c.font = `400 ${FONT.sub}px ${font}`;
}

function mark(c: CanvasRenderingContext2D, colour: string, x: number, y: number, open: boolean): void {
  c.strokeStyle = colour;
  chevron(c, x + 2, y, open);
}

const WIDEST = 230;

function write({ c, picture: { measure }, look: { font } }: Canvas, text: string, x: number, y: number, size: number, bold: boolean): void {
  c.font = `${bold ? 600 : 400} ${size}px ${font}`;
  c.fillText(fitted(text, WIDEST, (t) => measure(t, size, bold)), x, y);
}

/** How often, as a pill whose right end is at `right`. */
function badge({ c, picture: { texts, measure }, look: { colours, font } }: Canvas, node: GraphNode, right: number, y: number): number {
  const text = texts[node.id].badge;
  const width = measure(text, FONT.label, true) + BOX.badge;
  c.fillStyle = mixed(colours.raised, colours.accent, 0.16);
  c.beginPath();
  c.roundRect(right - width, y - 9, width, 18, 9);
  c.fill();
  c.strokeStyle = c.fillStyle = colours.accent;
  repeatMark(c, right - width + 11, y, node.repeat);
  c.font = `600 ${FONT.label}px ${font}`;
  c.textAlign = 'left';
  c.fillText(text, right - width + 18, y + 0.5);
  return width;
}

function header(canvas: Canvas, node: GraphNode): void {
  const { c, picture: { scene, texts, measure }, look: { colours }, scale } = canvas;
  const [x, y] = [scene.x[node.id], scene.y[node.id]];
  if (scale < DETAIL.text) return enlarged(canvas, node, x, y, scene.width[node.id], FRAME.header);
  const text = texts[node.id];
  const middle = y + FRAME.header / 2;
  mark(c, colours.muted, x + 15, middle, true);
  c.textAlign = 'left';
  c.textBaseline = 'middle';
  let left = x + BOX.pad + BOX.chevron;
  c.fillStyle = colours.text;
  write(canvas, text.title, left, middle, FONT.title, true);
  left += Math.min(WIDEST, measure(text.title, FONT.title, true)) + 8;
  if (text.sub && text.sub !== text.title) {
    c.fillStyle = colours.muted;
    write(canvas, text.sub, left, middle, FONT.sub, false);
    left += Math.min(WIDEST, measure(text.sub, FONT.sub, false)) + 10;
  }
  if (text.badge) badge(canvas, node, left + measure(text.badge, FONT.label, true) + BOX.badge, middle);
}

/** From farther away one line in letters that can still be read, as much of it as there is room for. */
function enlarged({ c, picture: { scene, texts, measure }, look: { colours, paint, font }, scale }: Canvas, node: GraphNode, x: number, y: number, w: number, h: number): void {
  const size = Math.min(8.5 / scale, 0.6 * h);
  if (size * scale < 5.5) return;
  const text = fitted(texts[node.id].title, w - 10, (t) => measure(t, size, false));
  if (text.length < 3 && text !== texts[node.id].title) return;
  c.font = `400 ${size}px ${font}`;
  c.textAlign = scene.open[node.id] ? 'left' : 'center';
  c.textBaseline = 'middle';
  c.fillStyle = scene.open[node.id] ? colours.muted : paint(node).text;
  c.fillText(text, scene.open[node.id] ? x + 8 : x + w / 2, y + h / 2);
}

/** Trouble, at the upper right corner: of the node itself, or of something inside a closed one. */
export function paintMarks({ c, picture: { graph, scene, trouble }, look: { colours, font }, scale, nodes }: Canvas): void {
  if (scale < DETAIL.marks) return;
  for (const id of nodes) {
    if (!trouble[id]) continue;
    const node = graph.nodes[id];
    const level = scene.open[id] ? (node.error ? 2 : node.assumed.length ? 1 : 0) : trouble[id];
    if (level) alarm(c, scene.x[id] + scene.width[id] - 2, scene.y[id] + 1, level === 2 ? 'error' : 'assumed', level === 2 ? colours.bad : colours.warn, colours.surface, font);
  }
}

export function paintOutline({ c, picture: { graph, scene }, look: { colours, selected, hovered, matches }, scale, nodes }: Canvas): void {
  const around = (id: number, colour: string, thick: number, off: number) => {
    c.strokeStyle = colour;
    c.lineWidth = Math.max(thick, (0.75 * thick) / scale);
    c.beginPath();
    const d = off + c.lineWidth / 2;
    c.roundRect(scene.x[id] - d, scene.y[id] - d, scene.width[id] + 2 * d, scene.height[id] + 2 * d, 9 + off);
    c.stroke();
  };
  if (matches) for (const id of nodes) if (matches.has(id)) around(id, colours.warn, 2, 1);
  const there = (id: number) => id >= 0 && id < graph.nodes.length && scene.visible.standsFor[id] === id;
  if (there(hovered) && hovered !== selected) around(hovered, colours.muted, 1.5, 0);
  if (there(selected)) around(selected, colours.accent, 2.5, 1);
}
