// What a map says at a place: the raw value of the cell there, never an interpolated one.
import type { AttributionMethod } from './contract';
import { format } from './numbers';
import { cellAt, peakOf, positions, type Grid, type Placement } from './raster';

export interface Reading { value: number; row: number; column: number; y: number; x: number }

/** The cell at parts (v, u) of the input's height and width, and the input pixel there. */
export function readAt(grid: Grid, place: Placement, v: number, u: number): Reading {
  const [height, width] = place.size;
  const y = Math.min(height - 1, Math.max(0, Math.floor(v * height)));
  const x = Math.min(width - 1, Math.max(0, Math.floor(u * width)));
  const row = cellAt(positions(grid.rows, height, height, place.centers?.[0] ?? null)[y]);
  const column = cellAt(positions(grid.columns, width, width, place.centers?.[1] ?? null)[x]);
  return { value: grid.data[row * grid.columns + column], row, column, y, x };
}

/** Middle of a cell in parts (v, u) of the input. */
export function middle(grid: Grid, place: Placement, row: number, column: number): { v: number; u: number } {
  const at = (i: number, cells: number, size: number, center: [number, number] | null) => {
    const [first, step] = center ?? [size / cells / 2, size / cells];
    return Math.min(Math.max((first + i * step) / size, 0.5 / size), 1 - 0.5 / size);
  };
  return {
    v: at(row, grid.rows, place.size[0], place.centers?.[0] ?? null),
    u: at(column, grid.columns, place.size[1], place.centers?.[1] ?? null),
  };
}

/** The cell of largest magnitude. */
export function peakReading(grid: Grid, place: Placement): Reading {
  const { index, value } = peakOf(grid.data);
  if (index < 0) return { value, row: 0, column: 0, y: 0, x: 0 };
  const row = Math.floor(index / grid.columns);
  const column = index % grid.columns;
  const { v, u } = middle(grid, place, row, column);
  return { value, row, column, y: Math.floor(v * place.size[0]), x: Math.floor(u * place.size[1]) };
}

export function amount(value: number, method: AttributionMethod): string {
  return method.unit ? `${format(value)} ${method.unit}` : format(value);
}
