import type { FunctionBuilder } from "./assembler.js";
import { sine } from "./math/angle.js";
import { type Lanes, laneArithmetic } from "./math/arithmetic.js";
import { erf, exp, expNonPositive, log, sigmoid, tanh } from "./math/exponential.js";
import { lanePower } from "./math/power.js";
import { f32x4, type V128 } from "./simd.js";
import type { Local } from "./value.js";

type Named = Local<"v128">;

/** Real functions of four f32 lanes. Each computes at once (as `f.let` does) and names its result. */
export interface LaneMath {
  /** `a * b + c`; one rounding where relaxed SIMD offers it, else two. */
  madd(a: V128, b: V128, c: V128): Lanes;
  exp(x: Lanes): Named;
  /** exp for x <= 0 (softmax): about a quarter cheaper; results below 2^-126 become 0, never a slow denormal. */
  expNonPositive(x: Lanes): Named;
  log(x: Lanes): Named;
  tanh(x: Lanes): Named;
  sigmoid(x: Lanes): Named;
  erf(x: Lanes): Named;
  sin(x: Lanes): Named;
  cos(x: Lanes): Named;
  /** C's `powf`: pow(x, 0) = pow(1, y) = 1 even for NaN. */
  pow(x: Lanes, y: Lanes): Named;
  rsqrt(x: Lanes): Named;
}

/**
 * Vector mathematics over a function being built. Worst errors in f32 against float64, over every exponent:
 * exp and log 1 ulp, erf 1.1, tanh 1.3, rsqrt 1.5, sin and cos 1.6 (|x| <= 1e5), sigmoid 2.3, pow 0.5
 * (simd-math.test.ts holds the bounds).
 *
 * @see Polynomials of exp, log, sin, cos, tanh: S. Moshier, Cephes (single precision); of erf: N. Juffa. Range reductions:
 * Cody and Waite 1980.
 */
export function laneMath(f: FunctionBuilder, features: { readonly relaxedSimd: boolean }): LaneMath {
  const arithmetic = laneArithmetic(f, features);
  const over = (fn: (a: typeof arithmetic, x: Lanes) => Named) => (x: Lanes) => fn(arithmetic, x);
  return {
    madd: arithmetic.madd,
    exp: over(exp),
    expNonPositive: over(expNonPositive),
    log: over(log),
    tanh: over(tanh),
    sigmoid: over(sigmoid),
    erf: over(erf),
    sin: (x) => sine(arithmetic, x, 0),
    cos: (x) => sine(arithmetic, x, 1),
    pow: (x, y) => lanePower(f, x, y),
    rsqrt: (x) => f.let(f32x4.div(1, f32x4.sqrt(x))),
  };
}
