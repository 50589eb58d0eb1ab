// Colours of the picture: from design.json, by the theme; boxes by their class, their role or a number.
import design from '../../../../src/fluoroscope/render/design.json';
import { COSTS, totals, valuesOf, type Cost } from './costs';
import { FAMILIES, familyOf, type Family } from './families';
import type { Graph, GraphNode } from './model';

export type Theme = 'light' | 'dark';
export type Colours = (typeof design.color)['light'];

export function coloursOf(theme: Theme): Colours {
  return design.color[theme];
}

/** `share` of colour `b` in `a`. */
export function mixed(a: string, b: string, share: number): string {
  const part = (i: number) => Math.round(parseInt(a.slice(i, i + 2), 16) * (1 - share) + parseInt(b.slice(i, i + 2), 16) * share);
  return `#${[1, 3, 5].map((i) => part(i).toString(16).padStart(2, '0')).join('')}`;
}

/** The categorical colours of a theme, the same kinds in the same places. */
export function seriesOf(theme: Theme): string[] {
  return theme === 'dark' ? design.palette.categorical_dark : design.palette.categorical;
}

/** Contrast of two colours (WCAG 2.2): 1 for equal ones, 21 for black and white. */
export function contrast(a: string, b: string): number {
  const light = (colour: string) => {
    const [r, g, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue + 0.05;
  };
  const [one, other] = [light(a), light(b)];
  return Math.max(one, other) / Math.min(one, other);
}

/** How a box is filled and edged, and what is written in it with; `bar` marks its kind at the left side, `far` is its one
 * colour from far away. */
export interface Tint { fill: string; edge: string; bar: string | null; far: string; text: string; muted: string }

const LEGIBLE = 4.5;
const INKS = [design.color.light.text, design.color.dark.text, '#000000', '#ffffff']; // of the last two one can be read on any fill

function tint(colours: Colours, fill: string, edge: string, bar: string | null = null): Tint {
  // strong fills take the ink of the other theme, and no weaker one for what is of less weight
  const text = [colours.text, ...INKS].find((ink) => contrast(ink, fill) >= LEGIBLE) ?? colours.text;
  const muted = contrast(colours.muted, fill) >= LEGIBLE ? colours.muted : text;
  return { fill, edge, bar, far: mixed(fill, bar ?? edge, 0.4), text, muted };
}

export type Paint = (node: GraphNode) => Tint;

/** The meaning of colours, for the legend. */
export type Legend =
  | { kind: 'swatches'; entries: { title: string; colour: string; name: string }[] }
  | { kind: 'ramp'; low: number; high: number; colours: string[]; logarithmic: boolean; unit: 'count' | 'bytes' | '' };

export interface Colouring { paint: Paint; legend: Legend }

const ROLES: Partial<Record<GraphNode['role'], { title: string; series: number | null }>> = {
  leaf: { title: 'Leaf tensor', series: 0 },
  function: { title: 'Function', series: null },
  saved: { title: 'Saved tensor', series: 1 },
  output: { title: 'Output', series: 2 },
};

export function colouring(graph: Graph, by: string, theme: Theme): Colouring {
  const colours = coloursOf(theme);
  const series = seriesOf(theme);
  const cost = COSTS.find(([key]) => key === by)?.[0];
  if (cost) return byCost(graph, cost, colours, series);
  if (by !== 'class') return byValue(valuesOf(graph, by), colours, series);
  return graph.reading === 'autograd' ? byRole(colours, series) : byFamily(graph, colours, series);
}

function tinted(colours: Colours, hue: string | null): Tint {
  if (hue === null) return tint(colours, mixed(colours.surface, colours.raised, 0.7), colours.line);
  return tint(colours, mixed(colours.surface, hue, 0.1), mixed(colours.line, hue, 0.45), hue);
}

function byRole(colours: Colours, hues: string[]): Colouring {
  const made = new Map(Object.entries(ROLES).map(([role, { series }]) => [role, strong(colours, series === null ? null : hues[series])]));
  const plain = tinted(colours, null);
  const entries = Object.entries(ROLES).map(([name, { title, series }]) => ({ name, title, colour: series === null ? colours.muted : hues[series] }));
  return { paint: (node) => made.get(node.role) ?? plain, legend: { kind: 'swatches', entries } };
}

/** Roles of the autograd graph are told by the whole box, as those who know torchviz expect. */
function strong(colours: Colours, hue: string | null): Tint {
  if (hue === null) return tint(colours, colours.raised, colours.line);
  return tint(colours, mixed(colours.surface, hue, 0.3), mixed(colours.line, hue, 0.7));
}

function byFamily(graph: Graph, colours: Colours, hues: string[]): Colouring {
  const made = new Map<Family | null, Tint>([[null, tinted(colours, null)]]);
  for (const f of FAMILIES) made.set(f, tinted(colours, hues[f.series]));
  const of = (node: GraphNode) => (node.role === 'module' || node.role === 'operation' ? familyOf(node.type, node.code) : null);
  const there = new Set(graph.nodes.map(of));
  const entries = FAMILIES.filter((f) => there.has(f)).map((f) => ({ name: f.name, title: f.title, colour: hues[f.series] }));
  return { paint: (node) => made.get(of(node))!, legend: { kind: 'swatches', entries } };
}

const STEPS = 64;

/** Tints of a ramp, made once; what lies outside of it has that of the end. */
function shades(shade: (t: number) => string, colours: Colours): (t: number) => Tint {
  const made = Array.from({ length: STEPS + 1 }, (_, i) => {
    const fill = shade(i / STEPS);
    return { ...tint(colours, fill, mixed(fill, colours.text, 0.2)), far: fill };
  });
  return (t) => made[Math.round(STEPS * Math.min(1, Math.max(0, t)))];
}

const RAMP = [0, 0.25, 0.5, 0.75, 1];
const DECADES = 4;

function byCost(graph: Graph, cost: Cost, colours: Colours, hues: string[]): Colouring {
  const values = totals(graph, cost);
  const high = graph.nodes.reduce((most, n) => (n.children.length ? most : Math.max(most, values[n.id])), 0);
  const low = high / 10 ** DECADES;
  const shade = (t: number) => mixed(colours.surface, hues[1], 0.08 + 0.62 * t);
  const steps = shades(shade, colours);
  const nothing = tint(colours, colours.surface, colours.line);
  const paint: Paint = (node) => {
    const value = values[node.id];
    if (!(value > 0)) return nothing;
    return steps(Math.log10(value / low) / DECADES);
  };
  return { paint, legend: { kind: 'ramp', low, high, colours: RAMP.map(shade), logarithmic: true, unit: cost === 'activationBytes' ? 'bytes' : 'count' } };
}

function byValue(values: Float64Array, colours: Colours, hues: string[]): Colouring {
  const finite = values.filter(Number.isFinite);
  let low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  let high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const signed = low < 0;
  if (signed) [low, high] = [-Math.max(-low, Math.abs(high)), Math.max(-low, Math.abs(high))];
  else low = Math.min(low, 0);
  const shade = (t: number) => {
    if (!signed) return mixed(colours.surface, hues[0], 0.06 + 0.54 * t);
    return mixed(colours.surface, hues[t < 0.5 ? 0 : 5], 1.2 * Math.abs(t - 0.5));
  };
  const steps = shades(shade, colours);
  const nothing = tint(colours, colours.surface, colours.line);
  const paint: Paint = (node) => {
    const value = values[node.id];
    if (Number.isNaN(value)) return nothing;
    return steps(high > low ? (value - low) / (high - low) : 0.5);
  };
  return { paint, legend: { kind: 'ramp', low, high, colours: RAMP.map(shade), logarithmic: false, unit: '' } };
}
