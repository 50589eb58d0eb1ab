// Outputs of a layer as tiles to look at: one for each channel, or one for what has no channels.
import type { Decoded } from './blobs';
import type { FeatureLayer } from './contract';
import type { Grid } from './raster';

export interface Tile { label: string; grid: Grid; low: number; high: number }

function ranged(label: string, grid: Grid): Tile {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < grid.data.length; i++) {
    const v = grid.data[i];
    if (!Number.isFinite(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return { label, grid, low: low > high ? 0 : low, high: low > high ? 0 : high };
}

/** Depth of volumes, 1 for all else. */
export function depthOf(layer: FeatureLayer): number {
  return layer.axes.at(-3) === 'Z' ? layer.data.shape.at(-3)! : 1;
}

/** The tiles of example `n`; `limit` is for those who need only the first. */
export function tilesOf(layer: FeatureLayer, { data, shape }: Decoded, n: number, depth: number, limit = Infinity): Tile[] {
  const each = shape.slice(1).reduce((a, b) => a * b, 1);
  const own = data.subarray(n * each, (n + 1) * each);
  const name = layer.axes.slice(1).join('');
  if (name === 'CHW' || name === 'CZHW' || name === 'CT') {
    const size = each / shape[1];
    const columns = shape.at(-1)!;
    const rows = name === 'CT' ? 1 : shape.at(-2)!;
    return Array.from({ length: Math.min(shape[1], limit) }, (_, c) => {
      const start = c * size + Math.min(depth, size / (rows * columns) - 1) * rows * columns;
      return ranged(`${layer.channels?.[c] ?? c}`, { data: own.subarray(start, start + rows * columns), rows, columns });
    });
  }
  const columns = shape.length > 2 ? shape.at(-1)! : wrapped(each);
  return [ranged('', { data: padded(own, columns), rows: Math.ceil(each / columns), columns })];
}

/** A vector as rows of about four times their number in length. */
function wrapped(length: number): number {
  return length <= 64 ? Math.max(1, length) : Math.min(128, Math.ceil(Math.sqrt(length * 4) / 8) * 8);
}

function padded(data: ArrayLike<number>, columns: number): ArrayLike<number> {
  if (data.length % columns === 0) return data;
  const out = new Float64Array(Math.ceil(data.length / columns) * columns).fill(NaN);
  out.set(Array.from(data));
  return out;
}
