// What part of the picture is seen, and how large: a place of the picture is at place × scale + (x, y) of the window.

export interface Camera { x: number; y: number; scale: number }
export interface Size { width: number; height: number }
export interface Rect { x: number; y: number; width: number; height: number }

export const LARGEST = 3;
const SMALLEST = 0.02;
const READABLE = 0.6;
const MARGIN = 12;

/** The least scale: the whole picture, or what is small enough anyway. */
export function least(picture: Size, window: Size): number {
  return Math.min(SMALLEST, whole(picture, window).scale);
}

/** Everything, in the middle; never larger than life. */
export function whole(picture: Size, window: Size): Camera {
  const room = { width: Math.max(1, window.width - 2 * MARGIN), height: Math.max(1, window.height - 2 * MARGIN) };
  const scale = Math.min(1, room.width / Math.max(1, picture.width), room.height / Math.max(1, picture.height));
  return { x: (window.width - picture.width * scale) / 2, y: (window.height - picture.height * scale) / 2, scale };
}

const PAPER = { width: 720, height: 950 }; // a page of A4 with margins
const BITMAP = 16_000; // pixels that a canvas may have along one side

/** For paper: all of the picture, as wide as a page; smaller where it would be long, as long as it can be read. */
export function onPaper(picture: Size): { size: Size; camera: Camera; ratio: number } {
  const across = Math.min(1, PAPER.width / Math.max(1, picture.width));
  const short = Math.max(Math.min(across, PAPER.height / Math.max(1, picture.height)), Math.min(across, READABLE));
  const scale = Math.min(short, BITMAP / Math.max(1, picture.height));
  const size = { width: Math.ceil(picture.width * scale), height: Math.ceil(picture.height * scale) };
  return { size, camera: { x: 0, y: 0, scale }, ratio: Math.min(3, BITMAP / Math.max(size.width, size.height)) };
}

/** A first look: everything where that can be read, else the upper end at a size that can, around `x`. */
export function opening(picture: Size, window: Size, x: number): Camera {
  const all = whole(picture, window);
  if (all.scale >= READABLE) return all;
  const scale = Math.min(1, Math.max(READABLE, (window.width - 2 * MARGIN) / picture.width));
  const fits = picture.width * scale <= window.width - 2 * MARGIN;
  return { x: fits ? (window.width - picture.width * scale) / 2 : window.width / 2 - x * scale, y: MARGIN, scale };
}

/** Zoomed by `factor` with the place under (x, y) kept. */
export function zoomed(camera: Camera, factor: number, x: number, y: number, smallest: number): Camera {
  const scale = Math.min(LARGEST, Math.max(smallest, camera.scale * factor));
  const by = scale / camera.scale;
  return { x: x - (x - camera.x) * by, y: y - (y - camera.y) * by, scale };
}

export function panned(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x + dx, y: camera.y + dy };
}

/** The camera pulled back so that some of the picture stays in the window. */
export function held(camera: Camera, picture: Size, window: Size): Camera {
  const keep = 60;
  const [wide, high] = [picture.width * camera.scale, picture.height * camera.scale];
  return {
    scale: camera.scale,
    x: Math.min(window.width - keep, Math.max(keep - wide, camera.x)),
    y: Math.min(window.height - keep, Math.max(keep - high, camera.y)),
  };
}

/** The least move that brings `box` into the window; if it does not fit, its upper end. */
export function showing(camera: Camera, box: Rect, window: Size): Camera {
  const along = (at: number, length: number, offset: number, room: number) => {
    const pad = Math.min(48, room / 6);
    const low = at * camera.scale + offset;
    const high = low + length * camera.scale;
    if (low >= pad && high <= room - pad) return offset;
    if (high - low > room - 2 * pad) return offset + pad - low;
    return low < pad ? offset + pad - low : offset + room - pad - high;
  };
  return {
    scale: camera.scale,
    x: along(box.x, box.width, camera.x, window.width),
    y: along(box.y, box.height, camera.y, window.height),
  };
}

/** `box` in the middle, large enough to be read. */
export function centred(camera: Camera, box: Rect, window: Size): Camera {
  const scale = Math.max(camera.scale, READABLE);
  return {
    scale,
    x: window.width / 2 - (box.x + Math.min(box.width, window.width / scale) / 2) * scale,
    y: window.height / 2 - (box.y + Math.min(box.height, (0.8 * window.height) / scale) / 2) * scale,
  };
}

/** Whether all of the picture is in the window, large enough to be read. */
export function fits(camera: Camera, picture: Size, window: Size): boolean {
  const { x, y, scale } = camera;
  return scale >= READABLE && x >= 0 && y >= 0 && x + picture.width * scale <= window.width && y + picture.height * scale <= window.height;
}

/** The part of the picture that is seen. */
export function seen(camera: Camera, window: Size): Rect {
  return { x: -camera.x / camera.scale, y: -camera.y / camera.scale, width: window.width / camera.scale, height: window.height / camera.scale };
}
