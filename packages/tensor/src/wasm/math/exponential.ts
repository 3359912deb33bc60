import { f32x4, i32x4, v128 } from "../simd.js";
import type { Local } from "../value.js";
import { atLeast, atMost, copySign, type LaneArithmetic, type Lanes } from "./arithmetic.js";

const { add, sub, mul, div } = f32x4;

/** ln 2 in two parts; the high one has 9 bits, so that its product with any exponent is exact. */
const ln2High = 0.693359375;
const ln2Low = -2.1219444e-4;
/** Adding 1.5 * 2^23 leaves the nearest integer of a small float in the low mantissa bits. */
const roundingMagic = 12582912;
const roundingMagicBits = 0x4b400000;

const expCoefficients = [
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
];
const logCoefficients = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
];
const tanhCoefficients = [
  -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
];
const erfNearCoefficients = [
  -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1,
];
const erfFarCoefficients = [
  -1.7285347e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1,
];

/** Splits x = n ln 2 + r, |r| <= ln 2 / 2; returns e^r and n as integer lanes. */
function reduceExp({ f, madd, polynomial }: LaneArithmetic, x: Lanes): { mantissa: Lanes; exponent: Lanes } {
  const rounded = f.let(madd(x, Math.LOG2E, roundingMagic));
  const n = f.let(sub(rounded, roundingMagic));
  const r = f.let(madd(n, -ln2Low, madd(n, -ln2High, x)));
  const tail = polynomial(r, expCoefficients);
  return {
    mantissa: f.let(add(madd(tail, mul(r, r), r), 1)),
    exponent: i32x4.sub(rounded, roundingMagicBits),
  };
}

/** 2^n for integer lanes -126..127. */
const powerOfTwo = (n: Lanes) => i32x4.add(i32x4.shl(n, 23), 0x3f800000);

export function exp(arithmetic: LaneArithmetic, x: Lanes): Local<"v128"> {
  const { f } = arithmetic;
  const { mantissa, exponent } = reduceExp(arithmetic, f.let(atMost(atLeast(x, -104), 89)));
  const n = f.let(exponent);
  const half = f.let(i32x4.shrS(n, 1)); // two factors: 2^n itself may lie outside of the normal floats
  return f.let(mul(mul(mantissa, powerOfTwo(half)), powerOfTwo(i32x4.sub(n, half))));
}

export function expNonPositive(arithmetic: LaneArithmetic, x: Lanes): Local<"v128"> {
  const { f } = arithmetic;
  const argument = f.let(x);
  const { mantissa, exponent } = reduceExp(arithmetic, f.let(atLeast(argument, -87.4)));
  return f.let(v128.andnot(mul(mantissa, powerOfTwo(exponent)), f32x4.lt(argument, -87.3)));
}

export function log({ f, madd, polynomial }: LaneArithmetic, x: Lanes): Local<"v128"> {
  const input = f.let(x);
  const isTiny = f.let(f32x4.lt(input, 2 ** -126));
  const scaled = f.let(v128.bitselect(mul(input, 2 ** 23), input, isTiny));
  const sqrtHalfBits = 0x3f3504f3;
  const exponent = f.let(i32x4.shrS(i32x4.sub(scaled, sqrtHalfBits), 23));
  const m = f.let(sub(i32x4.sub(scaled, i32x4.shl(exponent, 23)), 1)); // in [sqrt(1/2) - 1, sqrt(2) - 1)
  const n = f.let(f32x4.convertI32x4S(i32x4.add(exponent, v128.and(isTiny, -23))));
  const square = f.let(mul(m, m));
  const small = madd(n, ln2Low, mul(mul(m, square), polynomial(m, logCoefficients)));
  const normal = f.let(madd(n, ln2High, add(m, madd(square, -0.5, small))));
  // +inf and NaN stay themselves, 0 gives -inf, x < 0 gives NaN.
  const special = v128.bitselect(f32x4.splat(Number.NEGATIVE_INFINITY), input, f32x4.eq(input, 0));
  const isNormal = v128.and(f32x4.gt(input, 0), f32x4.lt(input, Number.POSITIVE_INFINITY));
  return f.let(v128.or(v128.bitselect(normal, special, isNormal), f32x4.lt(input, 0)));
}

export function tanh(arithmetic: LaneArithmetic, x: Lanes): Local<"v128"> {
  const { f, madd, polynomial } = arithmetic;
  const input = f.let(x);
  const magnitude = f.let(f32x4.abs(input));
  const square = f.let(mul(input, input));
  const near = madd(mul(polynomial(square, tanhCoefficients), square), magnitude, magnitude);
  const { mantissa, exponent } = reduceExp(arithmetic, f.let(atMost(add(magnitude, magnitude), 20)));
  const power = mul(mantissa, powerOfTwo(exponent));
  const far = sub(1, div(2, add(power, 1)));
  return f.let(copySign(v128.bitselect(near, far, f32x4.lt(magnitude, 0.625)), input));
}

/** 1 / (1 + e^-x); 0 below -88, where the true value is denormal. */
export function sigmoid(arithmetic: LaneArithmetic, x: Lanes): Local<"v128"> {
  const { f, madd } = arithmetic;
  const { mantissa, exponent } = reduceExp(arithmetic, f.let(atLeast(atMost(f32x4.neg(x), 88.8), -87)));
  return f.let(div(1, madd(mantissa, powerOfTwo(exponent), 1)));
}

export function erf(arithmetic: LaneArithmetic, x: Lanes): Local<"v128"> {
  const { f, madd, polynomial } = arithmetic;
  const input = f.let(x);
  const square = f.let(mul(input, input));
  const t = f.let(atMost(f32x4.abs(input), 4));
  const near = madd(polynomial(square, erfNearCoefficients), t, t);
  const far = sub(1, expNonPositive(arithmetic, sub(mul(polynomial(t, erfFarCoefficients), t), t)));
  return f.let(copySign(v128.bitselect(near, far, f32x4.lt(t, 0.921875)), input));
}
