import type { FunctionBuilder } from "./assembler.js";
import { f32x4, f64x2, i32x4, i64x2, type V128, v128 } from "./simd.js";
import type { Local, Value } from "./value.js";

type Lanes = Value<"v128">;

/** Real functions of four f32 lanes. Each computes at once (as `f.let` does) and names its result. */
export interface LaneMath {
  /** `a * b + c`; one rounding where relaxed SIMD offers it, else two. */
  madd(a: V128, b: V128, c: V128): Lanes;
  exp(x: Lanes): Local<"v128">;
  /** exp for x <= 0 (softmax): about a quarter cheaper; results below 2^-126 become 0, never a slow denormal. */
  expNonPositive(x: Lanes): Local<"v128">;
  log(x: Lanes): Local<"v128">;
  tanh(x: Lanes): Local<"v128">;
  sigmoid(x: Lanes): Local<"v128">;
  erf(x: Lanes): Local<"v128">;
  sin(x: Lanes): Local<"v128">;
  cos(x: Lanes): Local<"v128">;
  /** C's `powf`: pow(x, 0) = pow(1, y) = 1 even for NaN. */
  pow(x: Lanes, y: Lanes): Local<"v128">;
  rsqrt(x: Lanes): Local<"v128">;
}

/** Bit patterns that the range reductions below shift around. */
const oneBits = 0x3f800000;
const signBit = 0x80000000 | 0;
/** Adding 1.5 * 2^23 leaves the nearest integer of a small float in the low mantissa bits. */
const roundingMagic = 12582912;
const roundingMagicBits = 0x4b400000;

/**
 * Vector mathematics over a function being built. Worst errors in f32 against float64, over every exponent:
 * exp and log 1 ulp, erf 1.1, tanh 1.3, rsqrt 1.5, sin and cos 1.6 (|x| <= 1e5), sigmoid 2.3, pow 0.5
 * (simd-math.test.ts holds the bounds).
 *
 * @see Polynomials of exp, log, sin, cos, tanh: S. Moshier, Cephes (single precision); of erf: N. Juffa. Range reductions:
 * Cody and Waite 1980.
 */
export function laneMath(f: FunctionBuilder, features: { readonly relaxedSimd: boolean }): LaneMath {
  const { add, sub, mul, div } = f32x4;
  const madd = features.relaxedSimd
    ? f32x4.relaxedMadd
    : (a: V128, b: V128, c: V128) => f32x4.add(f32x4.mul(a, b), c);
  /** Horner's rule, highest power first. */
  const polynomial = (x: Lanes, [first = 0, ...rest]: readonly number[]) =>
    rest.reduce<Lanes>((sum, coefficient) => madd(sum, x, coefficient), f32x4.splat(first));

  /** Splits x = n ln 2 + r, |r| <= ln 2 / 2; returns e^r and n as integer lanes. */
  const reduceExp = (x: Lanes) => {
    const rounded = f.let(madd(x, Math.LOG2E, roundingMagic));
    const n = f.let(sub(rounded, roundingMagic));
    const r = f.let(madd(n, 2.1219444e-4, madd(n, -0.693359375, x)));
    const tail = polynomial(r, expCoefficients);
    return {
      mantissa: f.let(add(madd(tail, mul(r, r), r), 1)),
      exponent: i32x4.sub(rounded, roundingMagicBits),
    };
  };
  const powerOfTwo = (exponent: Lanes) => i32x4.add(i32x4.shl(exponent, 23), oneBits);

  const exp = (x: Lanes) => {
    const { mantissa, exponent } = reduceExp(f.let(f32x4.min(f32x4.max(x, -104), 89)));
    const n = f.let(exponent);
    const half = f.let(i32x4.shrS(n, 1)); // two factors: 2^n itself may lie outside of the normal floats
    return f.let(mul(mul(mantissa, powerOfTwo(half)), powerOfTwo(i32x4.sub(n, half))));
  };

  const expNonPositive = (x: Lanes) => {
    const argument = f.let(x);
    const { mantissa, exponent } = reduceExp(f.let(f32x4.max(argument, -87.4)));
    return f.let(v128.andnot(mul(mantissa, powerOfTwo(exponent)), f32x4.lt(argument, -87.3)));
  };

  const log = (x: Lanes) => {
    const input = f.let(x);
    const isTiny = f.let(f32x4.lt(input, 2 ** -126));
    const scaled = f.let(v128.bitselect(mul(input, 2 ** 23), input, isTiny));
    const sqrtHalfBits = 0x3f3504f3;
    const exponent = f.let(i32x4.shrS(i32x4.sub(scaled, sqrtHalfBits), 23));
    const m = f.let(sub(i32x4.sub(scaled, i32x4.shl(exponent, 23)), 1)); // in [sqrt(1/2) - 1, sqrt(2) - 1)
    const n = f.let(f32x4.convertI32x4S(i32x4.add(exponent, v128.and(isTiny, -23))));
    const square = f.let(mul(m, m));
    const small = madd(n, -2.1219444e-4, mul(mul(m, square), polynomial(m, logCoefficients)));
    const normal = f.let(madd(n, 0.693359375, add(m, madd(square, -0.5, small))));
    // +inf and NaN stay themselves, 0 gives -inf, x < 0 gives NaN.
    const special = v128.bitselect(input, f32x4.splat(-Infinity), v128.not(f32x4.eq(input, 0)));
    const negative = f32x4.lt(input, 0);
    const isNormal = v128.and(f32x4.gt(input, 0), f32x4.lt(input, Infinity));
    return f.let(v128.or(v128.bitselect(normal, special, isNormal), negative));
  };

  const copySign = (magnitude: Lanes, sign: Lanes) => v128.bitselect(sign, magnitude, signBit);

  const tanh = (x: Lanes) => {
    const input = f.let(x);
    const magnitude = f.let(f32x4.abs(input));
    const square = f.let(mul(input, input));
    const near = madd(mul(polynomial(square, tanhCoefficients), square), magnitude, magnitude);
    const { mantissa, exponent } = reduceExp(f.let(f32x4.min(add(magnitude, magnitude), 20)));
    const power = mul(mantissa, powerOfTwo(exponent));
    const far = sub(1, div(2, add(power, 1)));
    return f.let(copySign(v128.bitselect(near, far, f32x4.lt(magnitude, 0.625)), input));
  };

  const sigmoid = (x: Lanes) => {
    const { mantissa, exponent } = reduceExp(f.let(f32x4.max(f32x4.min(f32x4.neg(x), 88), -88)));
    const limited = i32x4.maxS(exponent, -126);
    return f.let(div(1, madd(mantissa, powerOfTwo(limited), 1)));
  };

  const erf = (x: Lanes) => {
    const input = f.let(x);
    const square = f.let(mul(input, input));
    const t = f.let(f32x4.min(f32x4.abs(input), 4));
    const near = madd(polynomial(square, erfNearCoefficients), t, t);
    const farExponent = f32x4.sub(mul(polynomial(t, erfFarCoefficients), t), t);
    const far = sub(1, expNonPositive(farExponent));
    return f.let(copySign(v128.bitselect(near, far, f32x4.lt(t, 0.921875)), input));
  };

  /** Quarter turns in float64: x = n pi/2 + r. Returns r in f32 and n mod 4 in the low bits of integer lanes. */
  const reduceAngle = (x: Lanes) => {
    const input = f.let(x);
    const halves = [input, i32x4.shuffle(input, input, [2, 3, 2, 3])].map((pair) => {
      const wide = f.let(f64x2.promoteLowF32x4(pair));
      const n = f.let(f64x2.nearest(f64x2.mul(wide, 2 / Math.PI)));
      const r = f64x2.sub(f64x2.sub(wide, f64x2.mul(n, halfPiHigh)), f64x2.mul(n, halfPiLow));
      const quarter = f64x2.sub(n, f64x2.mul(f64x2.floor(f64x2.mul(n, 0.25)), 4));
      return { r: f.let(f32x4.demoteF64x2Zero(r)), quarter: f.let(f32x4.demoteF64x2Zero(quarter)) };
    });
    const join = (name: "r" | "quarter") =>
      i64x2.shuffle(halves[0]?.[name] ?? 0, halves[1]?.[name] ?? 0, [0, 2]);
    // Beyond 2^52 the angle is noise; the clamp keeps the result within [-1, 1] all the same.
    return {
      r: f.let(f32x4.min(f32x4.max(join("r"), -1), 1)),
      quarter: f.let(i32x4.truncSatF32x4S(join("quarter"))),
    };
  };

  /** sin(x + turns pi/2). */
  const sine = (x: Lanes, turns: 0 | 1) => {
    const { r, quarter } = reduceAngle(x);
    const n = turns === 0 ? quarter : f.let(i32x4.add(quarter, 1));
    const square = f.let(mul(r, r));
    const odd = madd(mul(polynomial(square, sinCoefficients), square), r, r);
    const even = madd(polynomial(square, cosCoefficients), mul(square, square), madd(square, -0.5, 1));
    const isOdd = i32x4.eq(v128.and(n, 1), 0);
    const sign = i32x4.shl(v128.and(n, 2), 30);
    return f.let(v128.xor(v128.bitselect(odd, even, isOdd), sign));
  };

  const rsqrt = (x: Lanes) => f.let(div(1, f32x4.sqrt(x)));

  return {
    madd,
    exp,
    expNonPositive,
    log,
    tanh,
    sigmoid,
    erf,
    rsqrt,
    sin: (x) => sine(x, 0),
    cos: (x) => sine(x, 1),
    pow: (x, y) => lanePower(f, x, y),
  };
}

const expCoefficients = [
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
];
const logCoefficients = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
];
const sinCoefficients = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1];
const cosCoefficients = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2];
const tanhCoefficients = [
  -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
];
const erfNearCoefficients = [
  -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1,
];
const erfFarCoefficients = [
  -1.7285347e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1,
];
/** pi/2 in two parts; the high one has 33 bits, so that its product with any n below 2^20 is exact. */
const halfPiHigh = 1.5707963267341256;
const halfPiLow = 6.077100506506192e-11;

/** x^y through float64, two lanes at a time: 2^(y log2 |x|), then the special cases of C's `pow`. */
function lanePower(f: FunctionBuilder, xLanes: Lanes, yLanes: Lanes): Local<"v128"> {
  const [x, y] = [f.let(xLanes), f.let(yLanes)];
  const magnitude = f.let(f32x4.abs(x));
  const upper = (v: Lanes) => i32x4.shuffle(v, v, [2, 3, 2, 3]);
  const low = power64(f, f64x2.promoteLowF32x4(magnitude), f64x2.promoteLowF32x4(y));
  const high = power64(f, f64x2.promoteLowF32x4(upper(magnitude)), f64x2.promoteLowF32x4(upper(y)));
  const result = i64x2.shuffle(f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(high), [0, 2]);

  const isInteger = f.let(f32x4.eq(f32x4.trunc(y), y)); // also of infinities
  const half = f.let(f32x4.mul(y, 0.5));
  const isOdd = v128.andnot(
    v128.and(isInteger, f32x4.lt(f32x4.abs(y), Infinity)),
    f32x4.eq(f32x4.trunc(half), half),
  );
  const signed = f.let(v128.xor(result, v128.and(v128.and(x, signBit), isOdd)));
  const isImaginary = v128.andnot(v128.and(f32x4.lt(x, 0), f32x4.gt(x, -Infinity)), isInteger);
  const isUndefined = v128.or(isImaginary, v128.or(f32x4.ne(x, x), f32x4.ne(y, y)));
  const isOne = v128.or(
    v128.or(f32x4.eq(y, 0), f32x4.eq(x, 1)),
    v128.and(f32x4.eq(magnitude, 1), f32x4.eq(f32x4.abs(y), Infinity)),
  );
  return f.let(v128.bitselect(f32x4.splat(1), v128.or(signed, isUndefined), isOne));
}

/** x^y for x >= 0 in two f64 lanes, to about 1e-11; infinities by saturation. */
function power64(f: FunctionBuilder, x: Lanes, y: Lanes): Local<"v128"> {
  const { add, sub, mul, div } = f64x2;
  const horner = (t: Lanes, coefficients: readonly number[]) =>
    coefficients.reduce<Lanes>((sum, c) => add(mul(sum, t), c), f64x2.splat(0));
  const input = f.let(x);
  const exponent = f.let(i64x2.shrS(i64x2.sub(input, i64x2.splat(0x3fe6a09e667f3bcdn)), 52));
  const m = f.let(i64x2.sub(input, i64x2.shl(exponent, 52))); // in [sqrt(1/2), sqrt(2))
  const s = f.let(div(sub(m, 1), add(m, 1)));
  const magic = 6755399441055744; // 1.5 * 2^52
  const n = sub(i64x2.add(exponent, f64x2.splat(magic)), magic);
  const atanh = mul(s, horner(f.let(mul(s, s)), atanhCoefficients));
  const finiteLog = f.let(add(n, atanh));
  const log = v128.bitselect(
    f64x2.splat(-1e60),
    v128.bitselect(f64x2.splat(1e60), finiteLog, f64x2.eq(input, Infinity)),
    f64x2.eq(input, 0),
  );
  const t = f.let(f64x2.min(f64x2.max(mul(y, log), -200), 200));
  const rounded = f.let(add(t, magic));
  const r = f.let(sub(t, sub(rounded, magic)));
  const scale = i64x2.shl(i64x2.add(rounded, 1023), 52);
  return f.let(mul(horner(r, exp2Coefficients), scale));
}

/** log2((1 + s) / (1 - s)) / s in powers of s^2, highest first. */
const atanhCoefficients = Array.from({ length: 9 }, (_, k) => (2 * Math.LOG2E) / (17 - 2 * k));
/** 2^r in powers of r, highest first: (ln 2)^k / k!. */
const exp2Coefficients = Array.from({ length: 11 }, (_, i) => {
  let term = 1;
  for (let k = 1; k <= 10 - i; k++) term *= Math.LN2 / k;
  return term;
});
