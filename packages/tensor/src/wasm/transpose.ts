import type { FunctionBuilder } from "./assembler.js";
import { i32x4, i64x2 } from "./simd.js";
import type { Local } from "./value.js";

type Vector = Local<"v128">;
export type FourVectors = [Vector, Vector, Vector, Vector];

/** Emits the transpose of four vectors of four lanes: lane r of result k is lane k of vector r. */
export function transposeFour(f: FunctionBuilder, [a, b, c, d]: Readonly<FourVectors>): FourVectors {
  const [lowAB, lowCD] = [f.let(i32x4.shuffle(a, b, [0, 4, 1, 5])), f.let(i32x4.shuffle(c, d, [0, 4, 1, 5]))];
  const [highAB, highCD] = [
    f.let(i32x4.shuffle(a, b, [2, 6, 3, 7])),
    f.let(i32x4.shuffle(c, d, [2, 6, 3, 7])),
  ];
  return [
    f.let(i64x2.shuffle(lowAB, lowCD, [0, 2])),
    f.let(i64x2.shuffle(lowAB, lowCD, [1, 3])),
    f.let(i64x2.shuffle(highAB, highCD, [0, 2])),
    f.let(i64x2.shuffle(highAB, highCD, [1, 3])),
  ];
}
