/** Spreads the bits of a running hash. */
function finish(hash: number): number {
  let spread = hash ^ (hash >>> 15);
  spread = Math.imul(spread, 0x2c1b3c6d);
  return spread ^ (spread >>> 13);
}

/** Hashes units [start, end). Equal units give equal hashes, also through `hashText`. */
export function hashUnits(units: Uint16Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (units[at] as number), 0x9e3779b1);
  return finish(hash);
}

/** Hashes the UTF-16 units of a text. */
export function hashText(text: string): number {
  let hash = text.length;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x9e3779b1);
  return finish(hash);
}
