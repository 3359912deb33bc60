import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f64, i32 } from "../../wasm/scalar.js";
import { f32x4, f64x2, i32x4 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { LaneWidth } from "./lanes.js";

type Lanes = Value<"v128">;
/** Lanes of the elements i..i+width-1 of a row (with width 1: of element i, in lane 0 at least). */
export type RowTerm = (i: Local<"i32">, width: LaneWidth) => Lanes;

/** Vectors that a sum keeps apart, and elements after which it moves to float64: no f32 adds more than 32 numbers. */
const sumVectors = 4;
const sumBlock = 32 * 4 * sumVectors;

/** Visits a row: four elements at a time, then one at a time. */
export function eachElement(
  f: FunctionBuilder,
  count: Value<"i32">,
  body: (i: Local<"i32">, width: LaneWidth) => void,
): void {
  const i = f.let(i32.const(0));
  f.advance(i, f.let(i32.sub(count, 3)), 4, () => body(i, 4));
  f.advance(i, count, 1, () => body(i, 1));
}

/**
 * Sums several terms along a row at once, in float64 over short f32 sums (relative error about 1e-7 for any length).
 *
 * The order of additions depends on the length only: same row, same sum.
 */
export function sumTerms(
  f: FunctionBuilder,
  count: Local<"i32">,
  terms: (i: Local<"i32">, width: LaneWidth) => readonly Lanes[],
  numTerms: number,
): Local<"f64">[] {
  const totals = Array.from({ length: numTerms }, () => f.let(f64x2.splat(0)));
  const vectors = numTerms > 1 ? 2 : sumVectors;
  const partials = totals.map(() => Array.from({ length: vectors }, () => f.local("v128")));
  const i = f.let(i32.const(0));
  const blockEnd = f.local("i32");
  const addAt = (k: number, width: LaneWidth) =>
    terms(i, width).forEach((term, t) => {
      const partial = partials[t]?.[k];
      if (partial) f.set(partial, f32x4.add(partial, term));
    });
  f.while(i32.ltS(i, count), () => {
    for (const partial of partials.flat()) f.set(partial, f32x4.splat(0));
    f.set(blockEnd, i32.add(i, sumBlock));
    f.if(i32.gtS(blockEnd, count), () => f.set(blockEnd, count));
    f.while(i32.leS(i32.add(i, 4 * vectors), blockEnd), () => {
      for (let k = 0; k < vectors; k++) {
        addAt(k, 4);
        f.increase(i, 4);
      }
    });
    f.advance(i, i32.sub(blockEnd, 3), 4, () => addAt(0, 4));
    totals.forEach((total, t) => {
      const sum = f.let((partials[t] ?? []).reduce<Lanes>((a, b) => f32x4.add(a, b), f32x4.splat(0)));
      const upper = i32x4.shuffle(sum, sum, [2, 3, 2, 3]);
      f.set(total, f64x2.add(total, f64x2.add(f64x2.promoteLowF32x4(sum), f64x2.promoteLowF32x4(upper))));
    });
    f.advance(i, blockEnd, 1, () =>
      terms(i, 1).forEach((term, t) => {
        const total = totals[t];
        const first = f64x2.promoteLowF32x4(i32x4.shuffle(term, i32x4.splat(0), [0, 4, 4, 4]));
        if (total) f.set(total, f64x2.add(total, first));
      }),
    );
  });
  return totals.map((total) => f.let(f64.add(f64x2.extract(total, 0), f64x2.extract(total, 1))));
}

/** Sum of one term along a row. */
export function sumTerm(f: FunctionBuilder, count: Local<"i32">, term: RowTerm): Local<"f64"> {
  const [sum] = sumTerms(f, count, (i, width) => [term(i, width)], 1);
  return sum ?? f.local("f64");
}

/** How two values of one kind become one. */
export interface Fold {
  /** What changes nothing: 0 for sums, -infinity for maxima. */
  readonly start: Lanes;
  join(a: Lanes, b: Lanes): Lanes;
}

/** Folds a term along a row; the result is in lane 0. The order depends on the length only. */
export function foldTerm(f: FunctionBuilder, count: Local<"i32">, term: RowTerm, fold: Fold): Local<"v128"> {
  const partials = Array.from({ length: 4 }, () => f.let(fold.start));
  const [first = f.let(fold.start)] = partials;
  const rest = f.let(fold.start);
  const i = f.let(i32.const(0));
  const join = (target: Local<"v128">, width: LaneWidth) => f.set(target, fold.join(target, term(i, width)));
  f.while(i32.leS(i32.add(i, 16), count), () => {
    for (const partial of partials) {
      join(partial, 4);
      f.increase(i, 4);
    }
  });
  f.advance(i, f.let(i32.sub(count, 3)), 4, () => join(first, 4));
  f.advance(i, count, 1, () => join(rest, 1));
  const all = partials.reduce((a, b) => f.let(fold.join(a, b)));
  const pairs = f.let(fold.join(all, i32x4.shuffle(all, all, [2, 3, 2, 3])));
  return f.let(fold.join(rest, fold.join(pairs, i32x4.shuffle(pairs, pairs, [1, 1, 1, 1]))));
}

/** Largest element of a row; -infinity for an empty row, NaN if one is NaN. */
export function maxTerm(f: FunctionBuilder, count: Local<"i32">, term: RowTerm): Local<"f32"> {
  const fold = { start: f32x4.splat(Number.NEGATIVE_INFINITY), join: f32x4.max };
  return f.let(f32x4.extract(foldTerm(f, count, term, fold), 0));
}
