// Attribution cells as grids over the input.
import { loadArray, loadImage, type Decoded } from './blobs';
import type { AttributionCell, ImageRef } from './contract';
import type { Grid, Placement } from './raster';

/** `outline`: around what the target asks about, as a path in shares of width and height. */
export interface LoadedMap { grid: Grid; place: Placement; image: ImageBitmap | null; outline: string }

/** Rows and columns of the last two axes; of a volume, the slice `depth`. */
export function gridOf({ data, shape }: Decoded, depth: number): Grid {
  const [rows, columns] = shape.slice(-2);
  const start = shape.length === 3 ? Math.min(depth, shape[0] - 1) * rows * columns : 0;
  return { data: data.subarray(start, start + rows * columns), rows, columns };
}

export async function loadMap(cell: AttributionCell, image: ImageRef | null, size: number[], depth: number): Promise<LoadedMap> {
  const [map, picture, around] = await Promise.all([loadArray(cell.map), image ? loadImage(image) : null, cell.outline ? loadArray(cell.outline) : null]);
  const grid = gridOf(map, depth);
  const [height, width] = size.length >= 2 ? size.slice(-2) : [grid.rows, grid.columns];
  const centers = cell.centers ? (cell.centers.slice(-2) as [number, number][]) : null;
  return { grid, place: { size: [height, width], centers }, image: picture, outline: around ? pathOf(around.data) : '' };
}

/** Segments x0, y0, x1, y1 as a path. */
export function pathOf(segments: ArrayLike<number>): string {
  let path = '';
  for (let i = 0; i + 3 < segments.length; i += 4) path += `M${segments[i]} ${segments[i + 1]}L${segments[i + 2]} ${segments[i + 3]}`;
  return path;
}
