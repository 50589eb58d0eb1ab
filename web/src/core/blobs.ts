// Blocks of the page as arrays and images. Each is decoded once, when something that is in view asks for it.
import type { ArrayRef, ImageRef } from './contract';

export type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;
export interface Decoded { data: Numbers; shape: number[] }

/** Whether blocks that are not in the page may be asked for: in the studio, whose policy allows its own address. */
let asked = '';
export function askFor(address: string): void {
  asked = address;
}

const arrays = new Map<string, Promise<Decoded>>();
const images = new Map<number, Promise<ImageBitmap>>();

let pending = 0;
const DRAWN = 50; // ms that what was decoded takes to be on the page

/** Printing waits for nothing: while something is decoded the page carries a mark, which a print shows as a sentence. */
function awaited<T>(work: Promise<T>): Promise<T> {
  pending++;
  document.documentElement.toggleAttribute('data-pending', true);
  const over = () => setTimeout(() => document.documentElement.toggleAttribute('data-pending', --pending > 0), DRAWN);
  work.then(over, over);
  return work;
}

async function bytes(blob: number): Promise<Uint8Array<ArrayBuffer>> {
  const text = document.getElementById(`fs-blob-${blob}`)?.textContent;
  if (text == null && asked) {
    const answer = await fetch(`${asked}${blob}`);
    if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  }
  if (text == null) throw new Error(`block ${blob} of the page is missing`);
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

async function gunzip(packed: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

/** Half precision to single, all 65,536 patterns by arithmetic on the three fields. */
export function halves(source: Uint16Array): Float32Array {
  const out = new Float32Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const bits = source[i];
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

/** Little-endian bytes as numbers; every browser that runs today is little-endian. */
export function numbers(buffer: ArrayBuffer, dtype: ArrayRef['dtype']): Numbers {
  switch (dtype) {
    case 'f2': return halves(new Uint16Array(buffer));
    case 'f4': return new Float32Array(buffer);
    case 'f8': return new Float64Array(buffer);
    case 'i4': return new Int32Array(buffer);
    case 'u1': return new Uint8Array(buffer);
    default: throw new Error(`unknown type of numbers: ${String(dtype)}`);
  }
}

/** A text that is too long for the document, kept until another one takes its place. */
export async function loadText(blob: number): Promise<string> {
  return new TextDecoder().decode(await gunzip(await bytes(blob)));
}

export function loadArray(ref: ArrayRef): Promise<Decoded> {
  const key = `${ref.blob} ${ref.dtype} ${ref.shape.join('x')}`;
  let found = arrays.get(key);
  if (!found) {
    found = awaited(bytes(ref.blob).then(gunzip).then((buffer) => {
      const data = numbers(buffer, ref.dtype);
      const expected = ref.shape.reduce((a, b) => a * b, 1);
      if (data.length !== expected) throw new Error(`block ${ref.blob} has ${data.length} numbers, not ${expected}`);
      return { data, shape: ref.shape };
    }));
    arrays.set(key, found);
  }
  return found;
}

/** Forget decoded blocks that are no longer in use, so that a page that is open for days does not grow. */
export function keepOnly(used: Set<number>): void {
  for (const key of arrays.keys()) if (!used.has(parseInt(key, 10))) arrays.delete(key);
  for (const blob of images.keys()) if (!used.has(blob)) images.delete(blob);
}

const RASTER = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

/** An encoded picture as a file; nothing of it is kept here. Only types that hold pixels and nothing else. */
export async function loadFile(blob: number, mime: string): Promise<Blob> {
  if (!RASTER.has(mime)) throw new Error(`pictures of the type ${mime} are not shown`);
  return new Blob([await awaited(bytes(blob))], { type: mime });
}

export function loadImage(ref: ImageRef): Promise<ImageBitmap> {
  let found = images.get(ref.blob);
  if (!found) {
    found = awaited(bytes(ref.blob).then((data) => createImageBitmap(new Blob([data], { type: ref.mime }))));
    images.set(ref.blob, found);
  }
  return found;
}
