// Design tokens as CSS custom properties. The one place for them is design.json, which Python reads as well.
import type { Plugin } from 'vite';
import design from '../../src/fluoroscope/render/design.json';

const NAME = 'virtual:tokens.css';

function variables(prefix: string, entries: Record<string, string | number>, unit = ''): string {
  return Object.entries(entries)
    .map(([name, value]) => `--${prefix}-${name}:${value}${unit};`)
    .join('');
}

/** Sizes in rem, so that a reader's own text size counts; 16 px is the browsers' 1 rem. */
function rem(sizes: Record<string, number>): Record<string, string> {
  return Object.fromEntries(Object.entries(sizes).map(([name, px]) => [name, `${px / 16}rem`]));
}

export function tokensCss(): string {
  const { type, space, radius, color, palette } = design;
  const stops = (colors: string[]) => Object.fromEntries(colors.map((c, i) => [i, c]));
  const shared =
    `--font:${type.family};--mono:${type.mono};--radius:${radius}px;` +
    variables('type', rem(type.scale)) + variables('space', space, 'px') +
    variables('seq', stops(palette.sequential)) + variables('div', stops(palette.diverging));
  const light = `color-scheme:light;${variables('c', color.light)}${variables('series', stops(palette.categorical))}`;
  const dark = `color-scheme:dark;${variables('c', color.dark)}${variables('series', stops(palette.categorical_dark))}`;
  return (
    `:root{${shared}${light}}` +
    `@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){${dark}}}` +
    `@media screen{:root[data-theme=dark]{${dark}}}`
  );
}

export function tokens(): Plugin {
  return {
    name: 'fluoroscope-tokens',
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load: (id) => (id === `\0${NAME}` ? tokensCss() : undefined),
  };
}
