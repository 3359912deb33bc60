import {
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  laneMath,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { type DecodeUnit, scratchOf } from "./decode-plan.js";
import { pacedReads } from "./read-ahead.js";
import { minimum } from "./row-moves.js";
import { multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** The keys of a step. */
export interface StepKeys {
  /** The first of them. */
  readonly key: Address;
  /** How many of them are keys, from 1 on: the rest lies behind the last. */
  readonly count: Address;
  /** Where the scores go: [group, stepKeys]. */
  readonly scores: Address;
  readonly biases: readonly BiasPointer[];
}

/**
 * Features of one round of products. Loops stay loops: a processor foresees reads by the instruction that does them, so that a
 * few instructions must walk through memory by a few lines at a time.
 */
const featuresPerRound = 64;

/**
 * Emits the scores of a step's keys for every head of the group, lanes along the features; -infinity for those behind the
 * last key. They are rows of the cache or the guard behind it, never used.
 */
export function emitScores(
  f: FunctionBuilder,
  unit: DecodeUnit,
  step: StepKeys,
  /** The values of a step, which are read beside. */
  ahead: Address | undefined,
): void {
  const { group, shape, stepKeys } = unit.plan;
  const four: FourKeys = {
    key: f.let(step.key),
    scores: f.let(step.scores),
    biases: step.biases,
    ahead: ahead && f.let(ahead),
  };
  f.for(0, minimum(f, step.count, stepKeys), 4, () => {
    const at = { query: f.let(unit.query), scores: f.let(four.scores), head: f.let(i32.const(0)) };
    const emitHeads = (heads: number) => {
      emitHeadScores(f, unit, { four, at, heads });
      f.increase(at.query, heads * shape.queryLen * shape.headDim * 4);
      f.increase(at.scores, heads * stepKeys * 4);
      f.increase(at.head, heads);
    };
    f.for(0, Math.floor(group / 2), 1, () => emitHeads(2));
    if (group % 2 === 1) emitHeads(1);
    f.increase(four.key, 4 * shape.headDim * 4);
    f.increase(four.scores, 16);
    for (const bias of four.biases) bias.next();
  });
  f.if(i32.ltS(step.count, stepKeys), () => emitUnseen(f, unit, step));
}

/** Four keys of a step. */
interface FourKeys {
  readonly key: Address;
  /** Of the group's first head; heads are `stepKeys` floats apart. */
  readonly scores: Address;
  readonly biases: readonly BiasPointer[];
  /** The next byte to read ahead; moves on. */
  readonly ahead: Address | undefined;
}

interface HeadScores {
  readonly four: FourKeys;
  /** The query, the scores and the number of the first head. */
  readonly at: { readonly query: Address; readonly scores: Address; readonly head: Address };
  /** Heads whose products go on together: 1 or 2. */
  readonly heads: number;
}

function emitHeadScores(f: FunctionBuilder, unit: DecodeUnit, { four, at, heads }: HeadScores): void {
  const { params, stepKeys } = unit.plan;
  const { scale, softcap } = params;
  const math = laneMath(f, unit.plan.features);
  for (const [i, sum] of emitFourDots(f, unit, { four, at, heads }).entries()) {
    const scaled = f32x4.mul(sum, scale);
    const capped =
      softcap === undefined ? scaled : f32x4.mul(math.tanh(f32x4.mul(scaled, 1 / softcap)), softcap);
    const biased = four.biases.reduce(
      (score, bias) => f32x4.add(score, bias.load(i32.add(at.head, i))),
      capped,
    );
    f.store("v128", at.scores, biased, i * stepKeys * 4);
  }
}

/** Emits -infinity into the scores behind the last key. */
function emitUnseen(f: FunctionBuilder, { plan }: DecodeUnit, { scores, count }: StepKeys): void {
  const at = f.let(scores);
  f.for(0, plan.group, 1, () => {
    for (let first = 0; first < plan.stepKeys; first += 4) {
      const lane = v128.const(Int32Array.from([0, 1, 2, 3], (i) => first + i));
      const seen = i32x4.ltS(lane, i32x4.splat(count));
      const masked = v128.bitselect(v128.load(at, first * 4), f32x4.splat(Number.NEGATIVE_INFINITY), seen);
      f.store("v128", at, masked, first * 4);
    }
    f.increase(at, plan.stepKeys * 4);
  });
}

/** The biases of four keys; moves on to the next four. */
export interface BiasPointer {
  /** The bias of a head of the group. */
  load(head: Value<"i32">): Value<"v128">;
  next(): void;
}

/** Emits pointers into the biases, at those of a key and the three behind it. */
export function emitBiasPointers(
  f: FunctionBuilder,
  { biases }: DecodeUnit,
  firstKey: Address,
): BiasPointer[] {
  const { bias, distanceBias } = biases;
  const pointers: BiasPointer[] = [];
  if (bias !== undefined) {
    const at = f.let(i32.add(bias.address, i32.shl(firstKey, 2)));
    pointers.push({
      load: (head) => v128.load(i32.add(at, i32.mul(bias.headBytes, head))),
      next: () => f.increase(at, 16),
    });
  }
  if (distanceBias !== undefined) {
    // Distances fall as keys rise: the vector ends at the first key's distance. Lanes behind the last key are masked later.
    const at = f.let(i32.sub(distanceBias.address, i32.shl(i32.add(firstKey, 3), 2)));
    pointers.push({
      load: (head) => {
        const falling = f.let(v128.load(i32.add(at, i32.mul(distanceBias.headBytes, head))));
        return i32x4.shuffle(falling, falling, [3, 2, 1, 0]);
      },
      next: () => f.increase(at, -16),
    });
  }
  return pointers;
}

/** Emits, for each of one or two heads, the products of its query with four keys, as lanes. */
function emitFourDots(
  f: FunctionBuilder,
  { plan, keys, scratch }: DecodeUnit,
  { four, at, heads }: HeadScores,
): Local<"v128">[] {
  const { headDim, queryLen } = plan.shape;
  const madd = multiplyAddFor(plan.features);
  // Where the engine joins pairs of vectors, each sum is a pair, whose lanes' sums are stored side by side: it looks for that.
  const width = plan.features.revectorized ? 2 : 1;
  const sums = Array.from({ length: width }, () =>
    Array.from({ length: heads }, () => Array.from({ length: 4 }, () => f.let(f32x4.splat(0)))),
  );
  const from = { query: f.let(at.query), key: f.let(four.key) };
  const step = (load: typeof v128.load, offset: number, half: number) => {
    const rows = [0, 1, 2, 3].map((row) => f.let(load(from.key, row * headDim * 4 + offset)));
    for (const [head, own] of (sums[half] ?? []).entries()) {
      const features = f.let(load(from.query, head * queryLen * headDim * 4 + offset));
      for (const [row, sum] of own.entries()) f.set(sum, madd(features, rows[row] ?? features, sum));
    }
  };
  const emitFeatures = (count: number) => {
    // The products of all heads share the reads of four values.
    const share = count / headDim / Math.ceil(plan.group / 2);
    const bytes = Math.ceil(4 * keys.valueRowBytes * share);
    const reads = four.ahead && pacedReads(f, four.ahead, bytes);
    const vectors = Math.floor(count / 4);
    for (let i = 0; i < vectors; i++) {
      if (i % 2 === 0) reads?.(i / 2, Math.ceil(vectors / 2));
      step(v128.load, i * 16, i % width);
    }
    for (let i = vectors * 4; i < count; i++) step(v128.load32Zero, i * 4, 0);
    if (four.ahead !== undefined) f.increase(four.ahead, bytes);
  };
  const rounds = Math.floor(headDim / featuresPerRound);
  f.for(0, rounds, 1, () => {
    emitFeatures(featuresPerRound);
    f.increase(from.query, featuresPerRound * 4);
    f.increase(from.key, featuresPerRound * 4);
  });
  if (headDim % featuresPerRound > 0) emitFeatures(headDim % featuresPerRound);
  const laneSums = sums.map((each) => each.map((four) => emitLaneSums(f, four)));
  if (width === 1) return laneSums.flat();
  const { lanes } = scratchOf(plan);
  const place = (half: number, head: number) => lanes + (2 * head + half) * 16;
  for (let head = 0; head < heads; head++) {
    for (const [half, each] of laneSums.entries())
      f.store("v128", scratch, each[head] ?? f32x4.splat(0), place(half, head));
  }
  const stored = (half: number, head: number) => v128.load(scratch, place(half, head));
  return Array.from({ length: heads }, (_, head) => f.let(f32x4.add(stored(0, head), stored(1, head))));
}

/** Emits the sums of the lanes of four vectors, as one vector. */
function emitLaneSums(f: FunctionBuilder, [a, b, c, d]: readonly Local<"v128">[]): Local<"v128"> {
  const pair = (x: Value<"v128"> | undefined, y: Value<"v128"> | undefined) =>
    f.let(
      f32x4.add(i32x4.shuffle(x ?? 0, y ?? 0, [0, 4, 1, 5]), i32x4.shuffle(x ?? 0, y ?? 0, [2, 6, 3, 7])),
    );
  const ab = pair(a, b);
  const cd = pair(c, d);
  return f.let(f32x4.add(i32x4.shuffle(ab, cd, [0, 1, 4, 5]), i32x4.shuffle(ab, cd, [2, 3, 6, 7])));
}
