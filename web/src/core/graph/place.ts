// Places along one row: as near as can be to where each wants to be, in order and without touching.

/** One box of a row: how far it reaches to both sides of its anchor, where it wants its anchor, and how much. */
export interface Slot { left: number; right: number; wish: number; weight: number }

/**
 * The anchors that minimize Σ weight (anchor − wish)² with `gap` between neighbours. Without the distances the problem is
 * isotonic regression, solved exactly by pooling adjacent violators.
 */
export function placed(slots: Slot[], gap: number): number[] {
  const offsets: number[] = [];
  slots.forEach((slot, i) => offsets.push(i ? offsets[i - 1] + slots[i - 1].right + gap + slot.left : 0));
  const pools: { mean: number; weight: number; count: number }[] = [];
  slots.forEach((slot, i) => {
    let pool = { mean: slot.wish - offsets[i], weight: slot.weight, count: 1 };
    while (pools.length && pools[pools.length - 1].mean >= pool.mean) {
      const last = pools.pop()!;
      const weight = last.weight + pool.weight;
      pool = { mean: (last.mean * last.weight + pool.mean * pool.weight) / weight, weight, count: last.count + pool.count };
    }
    pools.push(pool);
  });
  const out: number[] = [];
  for (const pool of pools) for (let k = 0; k < pool.count; k++) out.push(pool.mean + offsets[out.length]);
  return out;
}
