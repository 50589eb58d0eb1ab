// Attribution cells as grids over the input.
import { loadArray, loadImage, type Decoded } from './blobs';
import type { AttributionCell, ImageRef } from './contract';
import type { Grid, Placement } from './raster';

export interface LoadedMap { grid: Grid; place: Placement; image: ImageBitmap | null }

/** Rows and columns of the last two axes; of a volume, the slice `depth`. */
export function gridOf({ data, shape }: Decoded, depth: number): Grid {
  const [rows, columns] = shape.slice(-2);
  const start = shape.length === 3 ? Math.min(depth, shape[0] - 1) * rows * columns : 0;
  return { data: data.subarray(start, start + rows * columns), rows, columns };
}

export async function loadMap(cell: AttributionCell, image: ImageRef | null, size: number[], depth: number): Promise<LoadedMap> {
  const [map, picture] = await Promise.all([loadArray(cell.map), image ? loadImage(image) : null]);
  const grid = gridOf(map, depth);
  const [height, width] = size.length >= 2 ? size.slice(-2) : [grid.rows, grid.columns];
  const centers = cell.centers ? (cell.centers.slice(-2) as [number, number][]) : null;
  return { grid, place: { size: [height, width], centers }, image: picture };
}
