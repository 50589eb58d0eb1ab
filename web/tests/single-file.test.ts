// The policy names exactly what the page contains.
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { policy } from '../build/single-file';
import { tokensCss } from '../build/tokens';

test('the policy allows this script and this style and no other', () => {
  const text = policy('let a = 1', 'b{}');
  const hash = (s: string) => createHash('sha256').update(s).digest('base64');
  expect(text).toContain(`script-src 'sha256-${hash('let a = 1')}';`);
  expect(text).toContain(`style-src 'sha256-${hash('b{}')}';`);
  expect(text.startsWith("default-src 'none'")).toBe(true);
  expect(text).not.toContain('unsafe');
});

test('tokens are there in light and dark, and print stays light', () => {
  const css = tokensCss();
  expect(css).toContain('--type-m:0.9375rem');
  expect(css.match(/--c-page:/g)).toHaveLength(3);
  expect(css.match(/@media screen/g)).toHaveLength(2);
});
