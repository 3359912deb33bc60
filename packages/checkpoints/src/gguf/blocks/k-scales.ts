/**
 * Reads sub-block j (0..7) of the 12 bytes in which Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima.
 *
 * Bytes 0-3 hold scales 0-3, bytes 4-7 minima 0-3, bytes 8-11 the low halves of both for 4-7; their upper two bits lie
 * in the upper two bits of bytes 0-3 and 4-7.
 * @see ggml, `get_scale_min_k4`
 */
export function scaleAndMin(bytes: Uint8Array, at: number, j: number): readonly [scale: number, min: number] {
  const byte = (i: number) => bytes[at + i] ?? 0;
  if (j < 4) return [byte(j) & 63, byte(j + 4) & 63];
  return [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)];
}

/** Writes what `scaleAndMin` reads; the bytes must be zero before and j must rise from 0 to 7. */
export function setScaleAndMin(
  bytes: Uint8Array,
  at: number,
  { j, scale, min }: { readonly j: number; readonly scale: number; readonly min: number },
): void {
  const add = (i: number, bits: number) => {
    bytes[at + i] = (bytes[at + i] ?? 0) | bits;
  };
  if (j < 4) {
    add(j, scale);
    add(j + 4, min);
    return;
  }
  add(j + 4, (scale & 15) | ((min & 15) << 4));
  add(j - 4, (scale >> 4) << 6);
  add(j, (min >> 4) << 6);
}
