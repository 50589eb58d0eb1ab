// Tokens of a text with their values; padding, which is no word, as one entry for each run of it.

export interface Entry { text: string; value: number; at: number; padding: boolean }

/** Values in reading order; the entry of a run of padding has its value of greatest magnitude: methods may give it one value, repeated. */
export function entriesOf(values: ArrayLike<number>, names: string[] | null, padding: [number, number][]): Entry[] {
  const out: Entry[] = [];
  const starts = new Map(padding);
  for (let t = 0; t < values.length; t++) {
    const stop = Math.min(starts.get(t) ?? t, values.length);
    if (stop <= t) {
      out.push({ text: names?.[t] ?? String(t), value: values[t], at: t, padding: false });
      continue;
    }
    let peak = values[t];
    for (let i = t; i < stop; i++) if (Number.isNaN(values[i]) || Math.abs(values[i]) > Math.abs(peak)) peak = values[i];
    out.push({ text: `padding × ${stop - t}`, value: peak, at: t, padding: true });
    t = stop - 1;
  }
  return out;
}
