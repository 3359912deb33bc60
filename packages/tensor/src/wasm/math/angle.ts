import { f32x4, f64x2, i32x4, i64x2, v128 } from "../simd.js";
import type { Local } from "../value.js";
import { atLeast, atMost, type LaneArithmetic, type Lanes } from "./arithmetic.js";

const sinCoefficients = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1];
const cosCoefficients = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2];
/** pi/2 in two parts; the high one has 33 bits, so that its product with any n below 2^20 is exact. */
const halfPiHigh = 1.5707963267341256;
const halfPiLow = 6.077100506506192e-11;

/** Quarter turns in float64: x = n pi/2 + r. Returns r in f32 and n mod 4 in the low bits of integer lanes. */
function reduceAngle({ f }: LaneArithmetic, x: Lanes): { r: Local<"v128">; quarter: Local<"v128"> } {
  const input = f.let(x);
  const [low, high] = [input, i32x4.shuffle(input, input, [2, 3, 2, 3])].map((pair) => {
    const wide = f.let(f64x2.promoteLowF32x4(pair));
    const n = f.let(f64x2.nearest(f64x2.mul(wide, 2 / Math.PI)));
    const r = f64x2.sub(f64x2.sub(wide, f64x2.mul(n, halfPiHigh)), f64x2.mul(n, halfPiLow));
    const quarter = f64x2.sub(n, f64x2.mul(f64x2.floor(f64x2.mul(n, 0.25)), 4));
    return { r: f.let(f32x4.demoteF64x2Zero(r)), quarter: f.let(f32x4.demoteF64x2Zero(quarter)) };
  });
  const join = (name: "r" | "quarter") => i64x2.shuffle(low?.[name] ?? 0, high?.[name] ?? 0, [0, 2]);
  // Beyond 2^52 the angle is noise; the clamp keeps the result within [-1, 1] all the same.
  return {
    r: f.let(atMost(atLeast(join("r"), -1), 1)),
    quarter: f.let(i32x4.truncSatF32x4S(join("quarter"))),
  };
}

/** sin(x + turns pi/2): the sine for 0 turns, the cosine for 1. */
export function sine(arithmetic: LaneArithmetic, x: Lanes, turns: 0 | 1): Local<"v128"> {
  const { f, madd, polynomial } = arithmetic;
  const { mul } = f32x4;
  const { r, quarter } = reduceAngle(arithmetic, x);
  const n = turns === 0 ? quarter : f.let(i32x4.add(quarter, 1));
  const square = f.let(mul(r, r));
  const odd = madd(mul(polynomial(square, sinCoefficients), square), r, r);
  const even = madd(polynomial(square, cosCoefficients), mul(square, square), madd(square, -0.5, 1));
  const isOdd = i32x4.eq(v128.and(n, 1), 0);
  const sign = i32x4.shl(v128.and(n, 2), 30);
  return f.let(v128.xor(v128.bitselect(odd, even, isOdd), sign));
}
