import { uncleared } from "./uncleared.js";

/** Copies lists of integers into one; an array that is the only part is returned as it is. */
export function joinValues(parts: readonly ArrayLike<number>[]): Int32Array {
  if (parts.length === 1 && parts[0] instanceof Int32Array) return parts[0];
  const filled = parts.filter(({ length }) => length > 0);
  // The constructor copies into memory that was not cleared before.
  if (filled.length === 1) return new Int32Array(filled[0] as ArrayLike<number>);
  const all = uncleared(filled.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of filled) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
