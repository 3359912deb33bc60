import {
  type FunctionBuilder,
  i8x16,
  i32x4,
  type Local,
  transposeFour,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import type { PartName } from "../quant-format.js";

/** A block of sixteen neighbouring rows in the file, and its place in the panel. */
export interface PackJob {
  readonly f: FunctionBuilder;
  /** Address of the block in the panel's first row, and the bytes from one row to the next. */
  readonly source: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  /** Address of the block's entries in each tensor of the weight; they are moved on by the caller. */
  readonly targets: Readonly<Partial<Record<PartName, Local<"i32">>>>;
}

type Vector = Value<"v128">;

/** Lanes of 32 bits, or pairs and quads of them, out of two vectors: `pick([0, 4, 1, 5])` interleaves. */
function pick(a: Vector, b: Vector, lanes: readonly number[]): Vector {
  const bytes = 16 / lanes.length;
  return i8x16.shuffle(
    a,
    b,
    lanes.flatMap((lane) => Array.from({ length: bytes }, (_, i) => lane * bytes + i)),
  );
}

/**
 * Stores one block of 4-bit codes: bytes [row][16 inputs] become [quad][row / 4][row % 4][input % 4], that is, four rows at
 * a time their 32-bit lanes are transposed.
 *
 * @param from  bytes from the block's codes to this part
 * @param load  sixteen bytes of a row: input k in the low half of byte k, k + 16 in the high half
 */
export function storeNibbles(job: PackJob, from: number, load: (row: number) => Vector): void {
  const { f, targets } = job;
  const { codes } = targets;
  if (codes === undefined) return;
  for (let four = 0; four < 4; four++) {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => f.let(load(4 * four + i)));
    if (a === undefined || b === undefined || c === undefined || d === undefined) continue;
    for (const [quad, vector] of transposeFour(f, [a, b, c, d]).entries())
      f.store("v128", codes, vector, from + 64 * quad + 16 * four);
  }
}

/**
 * Stores the upper two bits of one block of 6-bit codes: [quad % 2][row / 4][row % 4][input % 4].
 *
 * @param load  sixteen bytes of a row: bits 0..1 of byte k are input k's, bits 4..5 input k + 16's
 */
export function storeUpperBits(job: PackJob, from: number, load: (row: number) => Vector): void {
  const { f, targets } = job;
  const { codes } = targets;
  if (codes === undefined) return;
  for (let four = 0; four < 4; four++) {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => {
      const both = f.let(load(4 * four + i));
      // Byte k < 8 takes the bits of k + 8 into its gaps.
      return f.let(v128.or(both, i8x16.shl(pick(both, both, [1, 1]), 2)));
    });
    if (a === undefined || b === undefined || c === undefined || d === undefined) continue;
    const [ab, cd] = [f.let(pick(a, b, [0, 4, 1, 5])), f.let(pick(c, d, [0, 4, 1, 5]))];
    f.store("v128", codes, pick(ab, cd, [0, 2]), from + 16 * four);
    f.store("v128", codes, pick(ab, cd, [1, 3]), from + 64 + 16 * four);
  }
}

/**
 * Stores one block of 8-bit codes: pairs of bytes [row][16 pairs] become [pair][row / 8][row % 8].
 *
 * @param load  sixteen bytes of a row, the first or second half of its block
 */
export function storeBytePairs(job: PackJob, load: (row: number, half: number) => Vector): void {
  const { f, targets } = job;
  const { codes } = targets;
  if (codes === undefined) return;
  for (let eight = 0; eight < 2; eight++) {
    for (let half = 0; half < 2; half++) {
      const given = Array.from({ length: 8 }, (_, i) => f.let(load(8 * eight + i, half)));
      for (const [pair, vector] of transposePairs(job, given).entries()) {
        f.store("v128", codes, vector, ((8 * half + pair) * 2 + eight) * 16);
      }
    }
  }
}

/** Transposes 8 x 8 numbers of 16 bits in three rounds of interleaving. */
function transposePairs({ f }: PackJob, given: readonly Local<"v128">[]): readonly Local<"v128">[] {
  const round = (vectors: readonly Local<"v128">[]) =>
    Array.from({ length: 8 }, (_, i) => {
      const [a, b] = [vectors[i >> 1], vectors[(i >> 1) + 4]];
      if (a === undefined || b === undefined) return f.let(i32x4.splat(0));
      return f.let(pick(a, b, i % 2 === 0 ? [0, 8, 1, 9, 2, 10, 3, 11] : [4, 12, 5, 13, 6, 14, 7, 15]));
    });
  return round(round(round(given)));
}
