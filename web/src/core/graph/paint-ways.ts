// Links: one path for all of a style, arrows and shapes where the scale lets them be seen.
import { BOTTOM } from './lift';
import type { Canvas } from './paint';
import { DETAIL, groundOf } from './paint-boxes';
import type { Way } from './scene';
import { FONT, linkText } from './texts';
import { mixed } from './tints';

const CURVES = 0.18; // below this scale curves are straight lines
const ROUND = 8;
const ARROW = { length: 7, half: 3.6 };

export function paintWays(canvas: Canvas): void {
  const { look: { colours, path } } = canvas;
  const plain = mixed(colours.surface, colours.muted, path ? 0.25 : 0.62);
  const lit = (way: Way) => path !== null && way.link.edges.some((e) => path.edges.has(e));
  const usual = path ? canvas.ways.filter((w) => !lit(w)) : canvas.ways;
  stroke(canvas, usual.filter((w) => !w.link.carried), plain, 1.3, []);
  stroke(canvas, usual.filter((w) => w.link.carried), plain, 1.3, [5, 4]);
  if (path) stroke(canvas, canvas.ways.filter(lit), colours.accent, 2.4, []);
}

function stroke({ c, scale }: Canvas, ways: Way[], colour: string, width: number, dash: number[]): void {
  if (!ways.length) return;
  c.strokeStyle = c.fillStyle = colour;
  c.lineWidth = Math.max(width, 0.8 / scale);
  c.lineCap = 'butt';
  c.lineJoin = 'round';
  c.setLineDash(scale > DETAIL.round ? dash : []);
  c.beginPath();
  for (const way of ways) {
    if (way.square) squared(c, way.points);
    else curved(c, way.points, scale < CURVES);
  }
  c.stroke();
  c.setLineDash([]);
  if (scale < DETAIL.round) return;
  c.beginPath();
  for (const { link, points, loop } of ways) if (link.target >= 0 || loop) arrow(c, points, loop);
  c.fill();
}

function curved(c: CanvasRenderingContext2D, points: number[], straight: boolean): void {
  c.moveTo(points[0], points[1]);
  for (let k = 2; k < points.length; k += 2) {
    const [x0, y0, x1, y1] = [points[k - 2], points[k - 1], points[k], points[k + 1]];
    if (straight || Math.abs(x1 - x0) < 0.5) c.lineTo(x1, y1);
    else c.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1);
  }
}

function squared(c: CanvasRenderingContext2D, points: number[]): void {
  c.moveTo(points[0], points[1]);
  for (let k = 2; k < points.length - 2; k += 2) c.arcTo(points[k], points[k + 1], points[k + 2], points[k + 3], ROUND);
  c.lineTo(points[points.length - 2], points[points.length - 1]);
}

/** Down into a box; at the end of a loop to the side. */
function arrow(c: CanvasRenderingContext2D, points: number[], sideways: boolean): void {
  const [x, y] = [points[points.length - 2], points[points.length - 1]];
  const back = sideways ? Math.sign(points[points.length - 4] - x) : 0;
  c.moveTo(x, y);
  if (sideways) {
    c.lineTo(x + back * ARROW.length, y - ARROW.half);
    c.lineTo(x + back * ARROW.length, y + ARROW.half);
  } else {
    c.lineTo(x - ARROW.half, y - ARROW.length);
    c.lineTo(x + ARROW.half, y - ARROW.length);
  }
  c.closePath();
}

/** Hub edges straight from end to end, over everything: they are looked at one node at a time. */
export function paintHubs({ c, picture: { scene, hubs }, look: { colours }, scale }: Canvas): void {
  if (!hubs.length) return;
  c.strokeStyle = colours.warn;
  c.lineWidth = Math.max(1.2, 0.8 / scale);
  c.globalAlpha = hubs.length > 60 ? 0.35 : 0.7;
  c.setLineDash([2, 4]);
  c.beginPath();
  for (const { source, target } of hubs) {
    const [x1, y1] = [scene.x[source] + scene.width[source] / 2, scene.y[source] + scene.height[source]];
    const [x2, y2] = [scene.x[target] + scene.width[target] - 14, scene.y[target]];
    const bow = Math.min(160, Math.abs(y2 - y1) / 2 + 20);
    c.moveTo(x1, y1);
    c.bezierCurveTo(x1, y1 + bow, x2 + bow / 2, y2 - bow, x2, y2);
  }
  c.stroke();
  c.setLineDash([]);
  c.globalAlpha = 1;
}

const LABELS = 0.72; // from this scale on shapes are written
const CLOSE = 1.6; // from this one on the names of arguments

/** The shape that leaves a box, once for each box, beside the way that leaves it. */
export function paintLabels(canvas: Canvas): void {
  const { c, picture: { graph }, look: { colours, font, path }, scale } = canvas;
  if (scale < LABELS) return;
  c.font = `400 ${FONT.label}px ${font}`;
  c.textAlign = 'left';
  c.textBaseline = 'alphabetic';
  c.lineJoin = 'round';
  c.lineWidth = 3.5;
  for (const [source, ways] of leaving(canvas.ways)) {
    if (ways.every((w) => w.link.target === BOTTOM)) continue; // it is said where the module around it is left
    const edges = ways.flatMap((w) => w.link.edges);
    const text = linkText(edges.map((e) => graph.edges[e]), graph.dtype);
    if (!text) continue;
    c.globalAlpha = path && !edges.some((e) => path.edges.has(e)) ? 0.3 : 1;
    const [x, y] = ways[0].points;
    const aside = ways.some((w) => w.points[2] > x + 4) && !ways.some((w) => w.points[2] < x - 4);
    c.textAlign = aside ? 'right' : 'left'; // away from a way that turns
    label(c, text, x + (aside ? -6 : 6), y + 13, groundOf(canvas, graph.nodes[source].depth - 1), colours.muted);
  }
  if (scale >= CLOSE) args(canvas);
  c.globalAlpha = 1;
}

function leaving(ways: Way[]): Map<number, Way[]> {
  const out = new Map<number, Way[]>();
  for (const way of ways) {
    const { source } = way.link;
    if (source < 0) continue;
    const list = out.get(source);
    if (list) list.push(way);
    else out.set(source, [way]);
  }
  return out;
}

/** Names of arguments, above the box that takes them. */
function args(canvas: Canvas): void {
  canvas.c.textAlign = 'left';
  const { c, picture: { graph }, look: { colours } } = canvas;
  for (const { link, points } of canvas.ways) {
    const names = new Set(link.edges.map((e) => graph.edges[e].argument).filter((name) => name && !/^\d*$/.test(name)));
    if (link.target < 0 || !names.size || names.size > 2) continue;
    label(c, [...names].join(', ').slice(0, 40), points[points.length - 2] + 6, points[points.length - 1] - 4, groundOf(canvas, graph.nodes[link.target].depth - 1), colours.muted);
  }
}

function label(c: CanvasRenderingContext2D, text: string, x: number, y: number, ground: string, ink: string): void {
  c.strokeStyle = ground;
  c.strokeText(text, x, y);
  c.fillStyle = ink;
  c.fillText(text, x, y);
}
