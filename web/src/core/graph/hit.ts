// What is under the pointer. Boxes lie inside of boxes, so the last in the order of execution is the innermost.
import type { Rect } from './camera';
import { FRAME, type Scene } from './scene';

export interface Hit { id: number; chevron: boolean }

/** The innermost visible node at a place of the picture; of an open module its header and its ground count. */
export function hit(scene: Scene, x: number, y: number, slack = 0): Hit | null {
  const { nodes } = scene.visible;
  for (let i = nodes.length - 1; i >= 0; i--) {
    const id = nodes[i];
    const [left, top] = [scene.x[id] - slack, scene.y[id] - slack];
    if (x < left || y < top || x > left + scene.width[id] + 2 * slack || y > top + scene.height[id] + 2 * slack) continue;
    const row = scene.open[id] ? FRAME.header : scene.height[id];
    return { id, chevron: x < left + FRAME.header + slack && y < top + row + slack };
  }
  return null;
}

export function boxOf(scene: Scene, id: number): Rect {
  return { x: scene.x[id], y: scene.y[id], width: scene.width[id], height: scene.height[id] };
}

export function overlaps(rect: Rect, x: number, y: number, width: number, height: number): boolean {
  return x <= rect.x + rect.width && x + width >= rect.x && y <= rect.y + rect.height && y + height >= rect.y;
}
