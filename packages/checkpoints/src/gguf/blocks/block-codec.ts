/** Turns stored blocks of one type into f32 values. Offsets and lengths were checked by the caller. */
export type BlockDecoder = (bytes: Uint8Array, out: Float32Array) => void;

/** Turns f32 values into stored blocks of one type, filling `bytes` (zero before). Lengths were checked by the caller. */
export type BlockEncoder = (values: Float32Array, bytes: Uint8Array) => void;

/** One block among the bytes of many; its bytes are zero before it is written. */
export interface BlockPlace {
  readonly bytes: Uint8Array;
  readonly at: number;
}

/**
 * Chooses and writes the scales of one block for values whose errors count by `weights`; then rounds elements one by one: each
 * call writes the code of element i, once, and gives the value that it stands for.
 */
export type BlockRounder = (
  values: Float32Array,
  weights: Float32Array,
  place: BlockPlace,
) => (i: number, value: number) => number;

/** Reads 16 bits, little-endian. */
export function u16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

/** Writes 16 bits, little-endian. */
export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 255;
  bytes[at + 1] = value >> 8;
}

/** Reads 32 bits, little-endian, signed. */
export function i32At(bytes: Uint8Array, at: number): number {
  return u16At(bytes, at) | (u16At(bytes, at + 2) << 16);
}

/** Reads one byte as a signed number. */
export function i8At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) >> 24;
}

/** 1 / d in f32, or 0 where d is 0 or so small that the inverse is infinite (its block becomes zeros then). */
export function inverseOf(d: number): number {
  const inverse = Math.fround(1 / d);
  return Number.isFinite(inverse) ? inverse : 0;
}
