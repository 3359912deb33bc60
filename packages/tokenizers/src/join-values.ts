/** Copies lists of integers into one. */
export function joinValues(parts: readonly ArrayLike<number>[]): Int32Array {
  const filled = parts.filter(({ length }) => length > 0);
  // The constructor copies into memory that was not cleared before.
  if (filled.length === 1) return new Int32Array(filled[0] as ArrayLike<number>);
  const all = new Int32Array(filled.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of filled) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
