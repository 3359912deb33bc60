/** Takes one more unit into a running hash, which begins at 0. */
export const addUnit = (hash: number, unit: number): number => Math.imul(hash ^ unit, 0x9e3779b1);

/** Spreads the bits of the running hash of `length` units. */
export function finishHash(hash: number, length: number): number {
  let spread = hash ^ length;
  spread = Math.imul(spread ^ (spread >>> 15), 0x2c1b3c6d);
  return spread ^ (spread >>> 13);
}

/** Hashes units [start, end). */
export function hashUnits(units: Uint16Array, start: number, end: number): number {
  let hash = 0;
  for (let at = start; at < end; at++) hash = addUnit(hash, units[at] as number);
  return finishHash(hash, end - start);
}
