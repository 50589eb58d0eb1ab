// What a reader does with a graph: one object that the picture, the lists and the tools share.
import { centred, fits, held, least, opening, panned, showing, whole, zoomed, type Camera, type Size } from './camera';
import { levelOf, levels, openTo, revealing, toggled, type Open } from './fold';
import { boxOf } from './hit';
import { hubLinks } from './lift';
import type { Graph } from './model';
import { troubles, type Picture } from './paint';
import { neighbours, reached, shortest } from './paths';
import { sceneOf } from './scene';
import { search } from './search';
import { sizesOf, textOf, type Measure } from './texts';

export interface Path { title: string; nodes: Set<number>; edges: Set<number> }

const GLIDE = 220; // ms
const MOST = 20_000; // boxes that one click may bring onto the picture

export class Explorer {
  readonly graph: Graph;
  readonly levels: number;
  readonly #sizes;
  readonly #still: Omit<Picture, 'scene' | 'hubs'>;

  open = $state.raw<Open>(new Set());
  selected = $state(-1);
  hovered = $state(-1);
  by = $state('class');
  hubs = $state(false);
  query = $state('');
  step = $state(-1);
  path = $state.raw<Path | null>(null);
  /** The node from which a way is looked for: the next one chosen is its end. */
  from = $state(-1);
  note = $state('');
  /** The share of the window, from below, that details cover when something is chosen. */
  covered = 0;
  camera = $state.raw<Camera>({ x: 0, y: 0, scale: 1 });
  window = $state.raw<Size>({ width: 0, height: 0 });

  readonly scene = $derived.by(() => sceneOf(this.graph, this.open, this.#sizes));
  readonly matches = $derived.by(() => search(this.graph, this.query));
  readonly found = $derived.by(() => (this.matches.length ? new Set(this.matches.map((id) => this.scene.visible.standsFor[id])) : null));
  readonly picture = $derived.by((): Picture => ({
    ...this.#still, scene: this.scene,
    hubs: this.hubs || this.selected >= 0 ? hubLinks(this.graph, this.scene.visible, this.hubs ? 'all' : this.selected) : [],
  }));
  readonly level = $derived.by(() => levelOf(this.graph, this.open));

  #gliding = 0;
  #moved = false;

  constructor(graph: Graph, measure: Measure) {
    this.graph = graph;
    this.levels = levels(graph);
    this.#sizes = sizesOf(graph, measure);
    this.#still = { graph, measure, texts: graph.nodes.map((n) => textOf(graph, n)), trouble: troubles(graph) };
    this.open = new Set(graph.open);
  }

  /** The window has a size: look at the beginning, until a reader has looked elsewhere. */
  resize(size: Size): void {
    this.window = size;
    if (!this.#moved) this.camera = opening(this.scene.size, size, this.#middle());
    else this.camera = held(this.camera, this.scene.size, size);
  }
  /** Where the flow begins, from the left: the first boxes of the picture. */
  #middle(): number {
    const first = this.graph.roots[0];
    return first === undefined ? 0 : this.scene.x[first] + this.scene.width[first] / 2;
  }

  move(camera: Camera): void {
    cancelAnimationFrame(this.#gliding);
    this.#moved = true;
    this.camera = held(camera, this.scene.size, this.window);
  }
  pan(dx: number, dy: number): void {
    this.move(panned(this.camera, dx, dy));
  }
  zoom(factor: number, x = this.window.width / 2, y = this.window.height / 2): void {
    this.move(zoomed(this.camera, factor, x, y, least(this.scene.size, this.window)));
  }
  fit(): void {
    this.glide(whole(this.scene.size, this.window));
  }
  /** To another view: in a short move that the eye can follow, at once for those who want no motion. */
  glide(to: Camera): void {
    cancelAnimationFrame(this.#gliding);
    this.#moved = true;
    const end = held(to, this.scene.size, this.window);
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return void (this.camera = end);
    const from = this.camera;
    const began = performance.now();
    const turn = (now: number) => {
      const t = Math.min(1, Math.max(0, (now - began) / GLIDE));
      const e = 1 - (1 - t) ** 3;
      const mix = (a: number, b: number) => a + (b - a) * e;
      this.camera = t < 1 ? { x: mix(from.x, end.x), y: mix(from.y, end.y), scale: mix(from.scale, end.scale) } : end;
      if (t < 1) this.#gliding = requestAnimationFrame(turn);
    };
    this.#gliding = requestAnimationFrame(turn);
  }

  /** Open or close a module; the module stays where it is in the window. */
  toggle(id: number, wanted?: boolean): void {
    if (!this.graph.nodes[id]?.children.length) return;
    this.#change(toggled(this.open, id, wanted), id);
    this.note = `${this.#name(id)} is ${this.open.has(id) ? 'open' : 'closed'}`;
  }
  openLevels(depth: number): void {
    const open = openTo(this.graph, Math.min(this.levels - 1, Math.max(0, depth)));
    let boxes = this.graph.roots.length;
    for (const id of open) boxes += this.graph.nodes[id].children.length;
    if (boxes > MOST) return void (this.note = `That would be ${boxes} boxes: open what you need one by one`);
    const id = this.selected;
    const stays = id >= 0 && this.scene.visible.standsFor[id] === id ? id : -1;
    this.#change(open, stays);
    if (stays < 0 && this.window.width) this.camera = opening(this.scene.size, this.window, this.#middle());
  }
  #change(open: Open, anchor: number): void {
    const before = anchor >= 0 ? this.#corner(anchor) : null;
    this.open = open;
    if (this.selected >= 0) this.selected = this.scene.visible.standsFor[this.selected];
    if (!before) return;
    const after = this.#corner(this.scene.visible.standsFor[anchor]);
    this.move(panned(this.camera, before[0] - after[0], before[1] - after[1]));
  }
  #corner(id: number): [number, number] {
    const { x, y, scale } = this.camera;
    return [this.scene.x[id] * scale + x, this.scene.y[id] * scale + y];
  }

  select(id: number): void {
    if (this.from >= 0 && id >= 0 && id !== this.from) this.#between(this.from, id);
    this.selected = id;
    if (id >= 0) this.note = this.#name(id);
  }
  /** Choose a node wherever it is: open what is around it and bring it into the window. */
  reveal(id: number, middle = false): void {
    this.open = revealing(this.graph, this.open, id);
    this.select(id);
    const box = boxOf(this.scene, id);
    const room = { width: this.window.width, height: this.window.height * (1 - this.covered) };
    if (middle && !fits(this.camera, this.scene.size, room)) this.glide(centred(this.camera, box, room));
    else this.glide(showing(this.camera, box, room));
  }

  find(text: string): void {
    this.query = text;
    this.step = -1;
  }
  /** To the next match, or with -1 to the one before. */
  next(by: number): void {
    const count = this.matches.length;
    if (!count) return;
    this.go((this.step < 0 && by < 0 ? count : this.step) + by);
  }
  go(step: number): void {
    const count = this.matches.length;
    this.step = ((step % count) + count) % count;
    this.reveal(this.matches[this.step], true);
  }

  /** Light up what feeds a node (upstream) or what it feeds. */
  trace(id: number, along: boolean): void {
    const { nodes, edges } = reached(this.graph, neighbours(this.graph, this.hubs), id, along);
    this.path = { title: `${along ? 'Fed by' : 'Feeds'} ${this.#name(id)}`, nodes, edges };
    this.note = `${nodes.size} nodes`;
  }
  #between(from: number, to: number): void {
    this.from = -1;
    const all = neighbours(this.graph, this.hubs);
    const there = shortest(this.graph, all, from, to);
    const back = there ? null : shortest(this.graph, all, to, from);
    const [a, b] = there ? [from, to] : [to, from];
    if (there ?? back) this.path = { title: `${this.#name(a)} to ${this.#name(b)}, ${(there ?? back)!.edges.size} steps`, ...(there ?? back)! };
    this.note = this.path?.title ?? `Nothing flows between ${this.#name(from)} and ${this.#name(to)}`;
  }
  clearPath(): void {
    this.path = null;
    this.from = -1;
  }

  /** The node that is next to the chosen one: along the flow (1, -1), or outwards and inwards. */
  walk(way: 'next' | 'previous' | 'out' | 'in'): void {
    const { nodes } = this.scene.visible;
    if (this.selected < 0) return this.reveal(nodes[0] ?? -1);
    const at = this.graph.nodes[this.selected];
    let to = -1;
    if (way === 'out') to = at.parent;
    else if (way === 'in') to = this.open.has(at.id) ? (at.children[0] ?? -1) : -1;
    else {
      const row = at.parent >= 0 ? this.graph.nodes[at.parent].children : this.graph.roots;
      to = row[row.indexOf(at.id) + (way === 'next' ? 1 : -1)] ?? -1;
    }
    if (to >= 0) this.reveal(to);
  }

  #name(id: number): string {
    const { label, type, role } = this.graph.nodes[id];
    return (label || type || role).slice(0, 80);
  }
}
