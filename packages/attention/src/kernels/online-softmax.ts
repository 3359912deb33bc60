import {
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  i32x4,
  type LaneMath,
  type Local,
  laneMath,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { storeVectors } from "./row-moves.js";
import type { ScoreTile } from "./score-tile.js";

type Lanes = Value<"v128">;

/** Below any score: the running maximum before the first key. Finite, so that differences stay numbers. */
const lowest = -3e38;

/** Running maximum, sum and correction of each column of a tile, one after the other in memory. */
export interface SoftmaxState {
  readonly maxima: Value<"i32">;
  readonly sums: Value<"i32">;
  readonly corrections: Value<"i32">;
}

export function softmaxState(address: Value<"i32">, width: number): SoftmaxState {
  return {
    maxima: address,
    sums: i32.add(address, width * 4),
    corrections: i32.add(address, width * 8),
  };
}

/**
 * Emits the start of a row's softmax: no key seen, or only the sink, a score without a value.
 *
 * @see Milakov and Gimelshein 2018, Online normalizer calculation for softmax, arXiv:1805.02867
 */
export function emitSoftmaxStart(
  f: FunctionBuilder,
  state: SoftmaxState,
  { width, sink }: { width: number; sink?: Value<"f32"> | undefined },
): void {
  const start = f.let(sink === undefined ? f32x4.splat(lowest) : f32x4.splat(sink));
  const sum = f32x4.splat(sink === undefined ? 0 : 1);
  const at = f.let(state.maxima);
  f.for(0, width / 4, 1, () => {
    f.store("v128", at, start);
    f.store("v128", at, sum, width * 4);
    f.increase(at, 16);
  });
}

/** Vectors of columns whose softmax advances together, so that the engine can join them in pairs. */
const vectorsAtOnce = 2;

/** Emits one step: scores become weights exp(s - max), and maxima, sums and corrections follow. */
export function emitSoftmaxStep(
  f: FunctionBuilder,
  tile: ScoreTile,
  { state, features }: { state: SoftmaxState; features: CpuFeatures },
): void {
  const column = f.let(tile.address);
  const stateAt = f.let(state.maxima);
  const sumOffset = tile.width * 4;
  const correctionOffset = tile.width * 8;
  const group = vectorsAtOnce * 16;
  f.for(0, (tile.width * 4) / group, 1, () => {
    const vectors = Array.from({ length: vectorsAtOnce }, (_, v) => v * 16);
    const before = vectors.map((v) => f.let(v128.load(stateAt, v)));
    const maxima = before.map((value) => f.let(value));
    const row = f.let(column);
    f.for(0, tile.numKeys, 1, () => {
      for (const [i, maximum] of maxima.entries()) {
        f.set(maximum, f32x4.pmax(maximum, v128.load(row, i * 16)));
      }
      f.increase(row, tile.width * 4);
    });
    const corrections = before.map((value, i) => emitWeight(f, f32x4.sub(value, maxima[i] ?? 0), features));
    const sums = vectors.map((v, i) =>
      f.let(f32x4.mul(v128.load(stateAt, sumOffset + v), corrections[i] ?? 0)),
    );
    f.set(row, column);
    f.for(0, tile.numKeys, 1, () => {
      const weights = maxima.map((maximum, i) =>
        emitWeight(f, f32x4.sub(v128.load(row, i * 16), maximum), features),
      );
      storeVectors(f, row, weights);
      for (const [i, sum] of sums.entries()) f.set(sum, f32x4.add(sum, weights[i] ?? 0));
      f.increase(row, tile.width * 4);
    });
    storeVectors(f, stateAt, maxima);
    storeVectors(f, stateAt, sums, sumOffset);
    storeVectors(f, stateAt, corrections, correctionOffset);
    f.increase(column, group);
    f.increase(stateAt, group);
  });
}

// Weights below e^-69 = 1e-30 become 0: no sum of weights (>= 1) sees them, and denormal products would be slow.
const smallestExponent = -69;
const roundingMagic = 12582912; // 1.5 * 2^23
const expCoefficients = [1.987569e-4, 1.3981999e-3, 8.333452e-3, 4.16658e-2, 0.16666665, 0.5, 1, 1];

/** Emits exp(x) for x <= 8 or x = -infinity; NaN stays NaN. Relative error about 1e-7. @see Cephes, expf. */
export function emitWeight(f: FunctionBuilder, x: Lanes, features: CpuFeatures): Local<"v128"> {
  const { madd } = laneMath(f, features);
  const exponent = f.let(x);
  const rounded = f.let(madd(exponent, f32x4.splat(Math.LOG2E), f32x4.splat(roundingMagic)));
  const n = f.let(f32x4.sub(rounded, roundingMagic));
  const high = madd(n, f32x4.splat(-0.693359375), exponent);
  const rest = f.let(madd(n, f32x4.splat(2.1219444e-4), high));
  const [first = 0, ...others] = expCoefficients;
  const power = others.reduce<Lanes>((sum, c) => madd(sum, rest, f32x4.splat(c)), f32x4.splat(first));
  // The low bits of `rounded` are n: shifted, they add to the exponent of e^rest.
  const result = i32x4.add(power, i32x4.shl(rounded, 23));
  return f.let(v128.andnot(result, f32x4.lt(exponent, smallestExponent)));
}

/** Emits max + log(sum) per column, and -infinity where nothing was seen; returns nothing. Needs sums >= 0. */
export function emitLogSumExp(
  f: FunctionBuilder,
  state: SoftmaxState,
  { width, math, target }: { width: number; math: LaneMath; target: Value<"i32"> },
): void {
  const at = f.let(state.maxima);
  const to = f.let(target);
  f.for(0, width / 4, 1, () => {
    const sum = f.let(v128.load(at, width * 4));
    f.store("v128", to, f32x4.add(v128.load(at), math.log(sum)));
    f.increase(at, 16);
    f.increase(to, 16);
  });
}

/** Emits 1 / sum, or 0 where nothing was seen. */
export function emitInverse(f: FunctionBuilder, sum: Value<"f32">): Local<"f32"> {
  const total = f.let(sum);
  const inverse = f.let(f32.const(0));
  f.if(f32.gt(total, 0), () => f.set(inverse, f32.div(1, total)));
  return inverse;
}
