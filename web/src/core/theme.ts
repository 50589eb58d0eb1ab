// Light, dark, or as the system says. A choice is kept where the browser allows it for files.

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'fluoroscope-theme';
const listeners = new Set<() => void>();

export function startTheme(): void {
  apply(stored());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => listeners.forEach((f) => f()));
}

export function stored(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return found === 'light' || found === 'dark' ? found : 'auto';
  } catch (error) {
    if (error instanceof DOMException) return 'auto'; // storage is closed to this file
    throw error;
  }
}

export function choose(theme: Theme): void {
  apply(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // the choice then lasts as long as the page is open
  }
}

/** Calls `changed` whenever light turns dark or back; what it returns ends that. */
export function onTheme(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

/** What is to be drawn now. Paper is always light. */
export function shown(): 'light' | 'dark' {
  const theme = document.documentElement.dataset.theme;
  if (matchMedia('print').matches) return 'light';
  if (theme === 'light' || theme === 'dark') return theme;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function apply(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  listeners.forEach((f) => f());
}
