// Puts the built script and style into the page itself, under a content security policy that allows only these two.
import { createHash } from 'node:crypto';
import type { Plugin } from 'vite';

const POLICY_MARK = '<!--policy-->';

function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
}

/** A script's text can hold what an HTML parser would take for its end or for a comment; in strings both can be escaped. */
function safeScript(code: string): string {
  return code.replace(/<\/(script)/gi, '<\\/$1').replace(/<!--/g, '<\\!--').trim();
}

export function policy(script: string, style: string): string {
  return [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    'img-src data: blob:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    'trusted-types svelte-trusted-html',
  ].join('; ');
}

export function singleFile(): Plugin {
  return {
    name: 'fluoroscope-single-file',
    enforce: 'post',
    apply: 'build',
    generateBundle(_options, bundle) {
      let script = '';
      let style = '';
      let page = '';
      for (const [name, file] of Object.entries(bundle)) {
        if (file.type === 'chunk') script += file.code;
        else if (name.endsWith('.css')) style += String(file.source);
        else if (name.endsWith('.html')) page = String(file.source);
        if (!name.endsWith('.html')) delete bundle[name];
      }
      const chunks = Object.keys(bundle).length;
      if (!page || !script || chunks !== 1) this.error('expected one page with one script');
      script = safeScript(script);
      style = style.trim();
      page = page.replace(/\s*<(script|link)\b[^>]*\b(src|href)="[^"]*"[^>]*>(<\/script>)?/g, '');
      // functions as replacements, so that `$` in the code has no meaning
      page = page.replace(POLICY_MARK, () => `<meta http-equiv="Content-Security-Policy" content="${policy(script, style)}">`);
      page = page.replace('</head>', () => `<style>${style}</style>\n<script type="module">${script}</script>\n</head>`);
      const file = Object.values(bundle)[0];
      if (file.type === 'asset') file.source = page;
    },
  };
}
