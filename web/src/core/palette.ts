// Numbers to colours: the palettes of design.json as tables of 256 colours, interpolated in sRGB like the figures'.
import design from '../../../src/fluoroscope/render/design.json';

export type Palette = Uint8ClampedArray;
export interface Scale { low: number; high: number; signed: boolean }

const STEPS = 256;

function table(stops: string[]): Palette {
  const rgb = stops.map((s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16)));
  const out = new Uint8ClampedArray(STEPS * 3);
  for (let i = 0; i < STEPS; i++) {
    const along = (i / (STEPS - 1)) * (stops.length - 1);
    const left = Math.min(Math.floor(along), stops.length - 2);
    for (let c = 0; c < 3; c++) out[3 * i + c] = rgb[left][c] + (along - left) * (rgb[left + 1][c] - rgb[left][c]);
  }
  return out;
}

export const SEQUENTIAL = table(design.palette.sequential);
export const DIVERGING = table(design.palette.diverging);

export function paletteOf(scale: Scale): Palette {
  return scale.signed ? DIVERGING : SEQUENTIAL;
}

/** The scale that colours span: symmetric around 0 for signed values, from 0 (or below) otherwise. */
export function scaleOf(low: number, high: number, signed: boolean): Scale {
  const a = Number.isFinite(low) ? low : 0;
  const b = Number.isFinite(high) ? high : 0;
  if (signed) {
    const peak = Math.max(Math.abs(a), Math.abs(b)) || 1;
    return { low: -peak, high: peak, signed };
  }
  const floor = Math.min(0, a);
  return { low: floor, high: b > floor ? b : floor + 1, signed };
}

/** Where `value` lies between 0 and 1 of `scale`; NaN stays NaN. */
export function along(value: number, scale: Scale): number {
  const t = (value - scale.low) / (scale.high - scale.low);
  return t < 0 ? 0 : t > 1 ? 1 : t;
}

export function css(value: number, scale: Scale): string {
  if (Number.isNaN(value)) return 'transparent';
  const i = 3 * Math.round(along(value, scale) * (STEPS - 1));
  const p = paletteOf(scale);
  return `rgb(${p[i]},${p[i + 1]},${p[i + 2]})`;
}

/** A tint behind words: nothing at 0 on light and dark ground alike, so that what stands out is what counts. */
export function tint(value: number, scale: Scale): string {
  const peak = Math.max(Math.abs(scale.low), Math.abs(scale.high));
  const share = Math.round(100 * Math.min(1, Math.abs(value) / peak)) || 0;
  const end = value < 0 ? 'light-dark(#669edb, #035da7)' : 'light-dark(#d38264, #9f3000)';
  return share ? `color-mix(in srgb, ${end} ${share}%, var(--c-surface))` : 'transparent';
}
