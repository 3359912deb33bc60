import type { FunctionBuilder } from "../assembler.js";
import { f32x4, type V128, v128 } from "../simd.js";
import type { Value } from "../value.js";

export type Lanes = Value<"v128">;

/** What the functions of four f32 lanes are built from. */
export interface LaneArithmetic {
  readonly f: FunctionBuilder;
  /** `a * b + c`; one rounding where relaxed SIMD offers it, else two. */
  madd(a: V128, b: V128, c: V128): Lanes;
  /** Horner's rule, highest power first. */
  polynomial(x: Lanes, coefficients: readonly number[]): Lanes;
}

export function laneArithmetic(
  f: FunctionBuilder,
  features: { readonly relaxedSimd: boolean },
): LaneArithmetic {
  const madd = features.relaxedSimd
    ? f32x4.relaxedMadd
    : (a: V128, b: V128, c: V128) => f32x4.add(f32x4.mul(a, b), c);
  return {
    f,
    madd,
    polynomial: (x, [first = 0, ...rest]) =>
      rest.reduce<Lanes>((sum, coefficient) => madd(sum, x, coefficient), f32x4.splat(first)),
  };
}

/** At most / at least a bound; NaN stays NaN (unlike with the operands the other way round). */
export const atMost = (x: Lanes, bound: number) => f32x4.pmin(x, bound);
export const atLeast = (x: Lanes, bound: number) => f32x4.pmax(x, bound);

/** The magnitude's bits with the sign's sign. */
export const copySign = (magnitude: Lanes, sign: Lanes) => v128.bitselect(sign, magnitude, 0x80000000 | 0);
