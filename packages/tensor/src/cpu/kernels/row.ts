import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f64, i32 } from "../../wasm/scalar.js";
import { f32x4, f64x2, i32x4 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { LaneWidth } from "./lanes.js";

type Lanes = Value<"v128">;

/** A loop along a row of `count` elements; `isPaired` lets two vectors go side by side, where the engine joins them. */
export interface RowLoop {
  readonly count: Local<"i32">;
  readonly isPaired: boolean;
}

/**
 * The elements i + skip .. i + skip + width - 1 of a row. Vectors that go side by side share i, and the addresses that `once`
 * names: only then can the engine join their loads and stores.
 */
export interface Position {
  readonly i: Local<"i32">;
  readonly skip: number;
  readonly width: LaneWidth;
  /** The value made by the first of the vectors side by side that asks for this key. */
  once(key: string, make: () => Value<"i32">): Local<"i32">;
}

/** Positions of `vectors` neighbouring vectors at i. */
function sideBySide(
  f: FunctionBuilder,
  i: Local<"i32">,
  { vectors, width }: { vectors: number; width: LaneWidth },
) {
  const named = new Map<string, Local<"i32">>();
  const once: Position["once"] = (key, make) => {
    const value = named.get(key) ?? f.let(make());
    named.set(key, value);
    return value;
  };
  return Array.from({ length: vectors }, (_, k): Position => ({ i, skip: 4 * k, width, once }));
}

/** Visits a row: eight elements at a time where pairs pay, then four, then one. Writes come after both have been computed. */
export function eachVector(
  f: FunctionBuilder,
  { count, isPaired }: RowLoop,
  compute: (at: Position) => readonly (() => void)[],
): void {
  const i = f.let(i32.const(0));
  const pass = (vectors: number, width: LaneWidth) => () => {
    const writes = sideBySide(f, i, { vectors, width }).map(compute);
    writes[0]?.forEach((_, j) => {
      for (const write of writes) write[j]?.();
    });
  };
  if (isPaired) f.advance(i, f.let(i32.sub(count, 7)), 8, pass(2, 4));
  f.advance(i, f.let(i32.sub(count, 3)), 4, pass(1, 4));
  f.advance(i, count, 1, pass(1, 1));
}

/** Elements after which a sum moves to float64: no f32 adds more than 64 numbers. */
const sumBlock = 512;

/** What a sum adds at a position, and what it writes there. */
export interface Terms {
  readonly terms: readonly Lanes[];
  readonly writes?: readonly (() => void)[];
}

/**
 * Sums several terms along a row at once, in float64 over short f32 sums (relative error about 1e-7 for any length).
 *
 * The order of additions depends on the length only: same row, same sum.
 */
export function sumTerms(
  f: FunctionBuilder,
  { count }: RowLoop,
  numTerms: number,
  termsAt: (at: Position) => Terms,
): Local<"f64">[] {
  const vectors = numTerms > 1 ? 2 : 4;
  const totals = Array.from({ length: numTerms }, () => f.let(f64x2.splat(0)));
  const partials = totals.map(() => Array.from({ length: vectors }, () => f.local("v128")));
  const i = f.let(i32.const(0));
  const blockEnd = f.local("i32");
  const pass = (numVectors: number, width: LaneWidth, add: (term: Lanes, t: number, k: number) => void) => {
    const all = sideBySide(f, i, { vectors: numVectors, width }).map((at) => {
      const { terms, writes = [] } = termsAt(at);
      return { terms: terms.map((term) => f.let(term)), writes };
    });
    all.forEach(({ terms }, k) => {
      for (const [t, term] of terms.entries()) add(term, t, k);
    });
    all[0]?.writes.forEach((_, j) => {
      for (const { writes } of all) writes[j]?.();
    });
  };
  const addLanes = (term: Lanes, t: number, k: number) => {
    const partial = partials[t]?.[k];
    if (partial) f.set(partial, f32x4.add(partial, term));
  };
  f.while(i32.ltS(i, count), () => {
    for (const partial of partials.flat()) f.set(partial, f32x4.splat(0));
    f.set(blockEnd, i32.add(i, sumBlock));
    f.if(i32.gtS(blockEnd, count), () => f.set(blockEnd, count));
    f.advance(i, f.let(i32.sub(blockEnd, 4 * vectors - 1)), 4 * vectors, () => pass(vectors, 4, addLanes));
    f.advance(i, f.let(i32.sub(blockEnd, 3)), 4, () => pass(1, 4, addLanes));
    totals.forEach((total, t) => {
      const sum = f.let((partials[t] ?? []).reduce<Lanes>((a, b) => f32x4.add(a, b), f32x4.splat(0)));
      const upper = i32x4.shuffle(sum, sum, [2, 3, 2, 3]);
      f.set(total, f64x2.add(total, f64x2.add(f64x2.promoteLowF32x4(sum), f64x2.promoteLowF32x4(upper))));
    });
    f.advance(i, blockEnd, 1, () =>
      pass(1, 1, (term, t) => {
        const total = totals[t];
        const first = f64x2.promoteLowF32x4(i32x4.shuffle(term, i32x4.splat(0), [0, 4, 4, 4]));
        if (total) f.set(total, f64x2.add(total, first));
      }),
    );
  });
  return totals.map((total) => f.let(f64.add(f64x2.extract(total, 0), f64x2.extract(total, 1))));
}

/** Sum of one term along a row. */
export function sumTerm(f: FunctionBuilder, loop: RowLoop, term: (at: Position) => Lanes): Local<"f64"> {
  const [sum] = sumTerms(f, loop, 1, (at) => ({ terms: [term(at)] }));
  return sum ?? f.local("f64");
}

/** How two values of one kind become one. */
export interface Fold {
  /** What changes nothing: 0 for sums, -infinity for maxima. */
  readonly start: Lanes;
  join(a: Lanes, b: Lanes): Lanes;
}

/** Folds a term along a row; the result is in lane 0. The order depends on the length only. */
export function foldTerm(
  f: FunctionBuilder,
  { count }: RowLoop,
  { start, join }: Fold,
  term: (at: Position) => Lanes,
): Local<"v128"> {
  const partials = Array.from({ length: 4 }, () => f.let(start));
  const rest = f.let(start);
  const i = f.let(i32.const(0));
  const pass = (targets: readonly Local<"v128">[], width: LaneWidth) => () => {
    const values = sideBySide(f, i, { vectors: targets.length, width }).map((at) => f.let(term(at)));
    targets.forEach((target, k) => {
      const value = values[k];
      if (value) f.set(target, join(target, value));
    });
  };
  f.advance(i, f.let(i32.sub(count, 15)), 16, pass(partials, 4));
  f.advance(i, f.let(i32.sub(count, 3)), 4, pass(partials.slice(0, 1), 4));
  f.advance(i, count, 1, pass([rest], 1));
  const all = partials.reduce((a, b) => f.let(join(a, b)));
  const pairs = f.let(join(all, i32x4.shuffle(all, all, [2, 3, 2, 3])));
  return f.let(join(rest, join(pairs, i32x4.shuffle(pairs, pairs, [1, 1, 1, 1]))));
}

/** Largest number of a row, -infinity if there is none. NaN counts as no number: whoever adds the row up meets it then. */
export function maxTerm(f: FunctionBuilder, loop: RowLoop, term: (at: Position) => Lanes): Local<"f32"> {
  const fold: Fold = {
    start: f32x4.splat(Number.NEGATIVE_INFINITY),
    join: (max, x) => f32x4.pmax(max, x),
  };
  return f.let(f32x4.extract(foldTerm(f, loop, fold, term), 0));
}
