// Pictures and texts that were logged together: a moment begins with part 0, or where the step changes.
export function momentsOf<T extends { step: number; part: number }>(items: T[]): T[][] {
  const out: T[][] = [];
  for (const item of items) {
    const last = out[out.length - 1];
    if (last && item.part > last[last.length - 1].part && item.step === last[0].step) last.push(item);
    else out.push([item]);
  }
  return out;
}
