import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { singleFile } from './build/single-file';
import { tokens } from './build/tokens';

// One page without any request: everything small enough to inline, no chunk splitting, no preload code.
export default defineConfig({
  plugins: [svelte(), tokens(), singleFile()],
  build: {
    outDir: '../src/fluoroscope/render/template',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: Number.MAX_SAFE_INTEGER,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: { input: 'report.html' },
  },
});
