/** A piece of memory that a plan needs from launch `first` to launch `last`, both included. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface MemoryPlan {
  /** Byte offset of each lifetime, a multiple of the alignment. */
  readonly offsets: readonly number[];
  readonly arenaBytes: number;
}

/**
 * Packs lifetimes into one arena so that no two that overlap in time overlap in space: largest first, each at the lowest
 * offset that is free during its whole life.
 *
 * @see Pisarchyk and Lee 2020, Efficient Memory Management for Deep Neural Net Inference, arXiv:2001.03288, algorithm 3
 */
export function planMemory(lifetimes: readonly Lifetime[], alignment = 64): MemoryPlan {
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const order = [...lifetimes.keys()].sort((a, b) => (lifetimes[b]?.bytes ?? 0) - (lifetimes[a]?.bytes ?? 0));
  const placed: { start: number; end: number; life: Lifetime }[] = [];
  let arenaBytes = 0;
  for (const index of order) {
    const life = lifetimes[index];
    if (life === undefined) continue;
    const size = Math.ceil(Math.max(life.bytes, 1) / alignment) * alignment;
    let start = 0;
    for (const other of placed) {
      if (other.life.last < life.first || other.life.first > life.last) continue;
      if (start + size <= other.start) break;
      start = Math.max(start, other.end);
    }
    offsets[index] = start;
    arenaBytes = Math.max(arenaBytes, start + size);
    const at = placed.findIndex((other) => other.start > start);
    placed.splice(at < 0 ? placed.length : at, 0, { start, end: start + size, life });
  }
  return { offsets, arenaBytes };
}
