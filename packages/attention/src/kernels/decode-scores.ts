import {
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  laneMath,
  transposeFour,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { type DecodeUnit, scratchOf } from "./decode-plan.js";
import { pacedReads } from "./read-ahead.js";
import { minimum, storeVectors } from "./row-moves.js";
import { type MultiplyAdd, multiplyAddFor } from "./tile-matmul.js";

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
 * Features of one round of products, where there are several. Loops stay loops: a processor foresees reads by the instruction
 * that does them, so that a few instructions must walk through memory by a few lines at a time.
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
    const many = headsAtOnce(group);
    f.for(0, Math.floor(group / many), 1, () => emitHeads(many));
    if (group % many > 0) emitHeads(group % many);
    f.increase(four.key, 4 * shape.headDim * 4);
    f.increase(four.scores, 16);
    for (const bias of four.biases) bias.next();
  });
  f.if(i32.ltS(step.count, stepKeys), () => emitUnseen(f, unit, step));
}

/** Heads whose products go on together, but for a rest of one. */
function headsAtOnce(group: number): 2 | 4 {
  return group % 4 === 0 ? 4 : 2;
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
  /** Heads whose products go on together: 1, 2 or 4. */
  readonly heads: number;
}

function emitHeadScores(f: FunctionBuilder, unit: DecodeUnit, { four, at, heads }: HeadScores): void {
  const { params, stepKeys } = unit.plan;
  const { scale, softcap } = params;
  const math = laneMath(f, unit.plan.features);
  const dots = heads === 4 ? emitFourHeads : emitFourKeys;
  for (const [i, sum] of dots(f, unit, { four, at, heads }).entries()) {
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
function emitFourKeys(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { four, at, heads }: HeadScores,
): Local<"v128">[] {
  const sums = emitProducts(f, unit, { ahead: four.ahead, query: at.query, key: four.key, heads, rows: 4 });
  for (const [head, halves] of sums.entries()) storeHalves(f, unit, { halves, place: head });
  return sums.map((_, head) => loadHalves(f, unit, head));
}

/**
 * Emits the same for each of four heads, two keys at a time: a row of keys is read once for all heads, by instructions that
 * walk evenly through memory.
 */
function emitFourHeads(f: FunctionBuilder, unit: DecodeUnit, { four, at }: HeadScores): Local<"v128">[] {
  const { shape } = unit.plan;
  const key = f.let(four.key);
  const scratch = f.let(unit.scratch);
  f.for(0, 2, 1, () => {
    const sums = emitProducts(f, unit, { ahead: four.ahead, query: at.query, key, heads: 4, rows: 2 });
    for (const row of [0, 1]) {
      const halves = (sums[0] ?? []).map((_, half) => sums.map((own) => own[half]?.[row]));
      storeHalves(f, { ...unit, scratch }, { halves, place: row });
    }
    f.increase(key, 2 * shape.headDim * 4);
    f.increase(scratch, 64);
  });
  const row = (place: number) => loadHalves(f, unit, place);
  return transposeFour(f, [row(0), row(1), row(2), row(3)]);
}

/** Emits the products of queries and keys: [head][half][key], their lanes not yet added. */
function emitProducts(
  f: FunctionBuilder,
  { plan, keys }: DecodeUnit,
  tile: {
    readonly query: Address;
    readonly key: Address;
    readonly ahead: Address | undefined;
    readonly heads: number;
    readonly rows: number;
  },
): Local<"v128">[][][] {
  const { headDim, queryLen } = plan.shape;
  const { ahead, heads, rows } = tile;
  const madd = multiplyAddFor(plan.features);
  // Where the engine joins pairs of vectors, each sum is a pair, whose lanes' sums are stored side by side: it looks for that.
  const width = plan.features.revectorized ? 2 : 1;
  const zeros = (count: number) => Array.from({ length: count }, () => f.let(f32x4.splat(0)));
  const sums = Array.from({ length: heads }, () => Array.from({ length: width }, () => zeros(rows)));
  const from = { query: f.let(tile.query), key: f.let(tile.key) };
  const step = (offset: number, half: number, { load, multiply }: StepKind) => {
    const values = Array.from({ length: rows }, (_, row) =>
      f.let(load(from.key, row * headDim * 4 + offset)),
    );
    for (const [head, own] of sums.entries()) {
      const features = f.let(load(from.query, head * queryLen * headDim * 4 + offset));
      for (const [row, sum] of (own[half] ?? []).entries()) {
        f.set(sum, multiply(features, values[row] ?? features, sum));
      }
    }
  };
  const rounds = headDim < 2 * featuresPerRound ? 1 : Math.floor(headDim / featuresPerRound);
  const emitFeatures = (count: number) => {
    // The products of all heads share the reads of as many values.
    const share = count / headDim / Math.ceil(plan.group / headsAtOnce(plan.group));
    const bytes = Math.ceil(rows * keys.valueRowBytes * share);
    const reads = ahead && pacedReads(f, ahead, bytes);
    const vectors = Math.floor(count / 4);
    for (let i = 0; i < vectors; i++) {
      if (i % 2 === 0) reads?.(i / 2, Math.ceil(vectors / 2));
      const multiply: MultiplyAdd = rounds === 1 && i < width ? (a, b) => f32x4.mul(a, b) : madd;
      step(i * 16, i % width, { load: v128.load, multiply });
    }
    for (let i = vectors * 4; i < count; i++) step(i * 4, 0, { load: v128.load32Zero, multiply: madd });
    if (ahead !== undefined) f.increase(ahead, bytes);
  };
  if (rounds === 1) {
    emitFeatures(headDim);
    return sums;
  }
  f.for(0, rounds, 1, () => {
    emitFeatures(featuresPerRound);
    f.increase(from.query, featuresPerRound * 4);
    f.increase(from.key, featuresPerRound * 4);
  });
  if (headDim % featuresPerRound > 0) emitFeatures(headDim % featuresPerRound);
  return sums;
}

interface StepKind {
  readonly load: typeof v128.load;
  /** Adds to a sum, or begins it. */
  readonly multiply: MultiplyAdd;
}

/** Emits the sums of lanes of four products, half by half, into a place of the scratch memory. */
function storeHalves(
  f: FunctionBuilder,
  { plan, scratch }: DecodeUnit,
  { halves, place }: { readonly halves: readonly (readonly (Local<"v128"> | undefined)[])[]; place: number },
): void {
  const sums = halves.map((four) => emitLaneSums(f, four));
  storeVectors(f, scratch, sums, scratchOf(plan).lanes + place * 32);
}

/** Emits what `storeHalves` left in a place, its halves added. */
function loadHalves(f: FunctionBuilder, { plan, scratch }: DecodeUnit, place: number): Local<"v128"> {
  const at = scratchOf(plan).lanes + place * 32;
  const first = v128.load(scratch, at);
  return f.let(plan.features.revectorized ? f32x4.add(first, v128.load(scratch, at + 16)) : first);
}

/** Emits the sums of the lanes of four vectors, as one vector. */
function emitLaneSums(
  f: FunctionBuilder,
  [a, b, c, d]: readonly (Local<"v128"> | undefined)[],
): Local<"v128"> {
  const pair = (x: Value<"v128"> | undefined, y: Value<"v128"> | undefined) =>
    f.let(
      f32x4.add(i32x4.shuffle(x ?? 0, y ?? 0, [0, 4, 1, 5]), i32x4.shuffle(x ?? 0, y ?? 0, [2, 6, 3, 7])),
    );
  const ab = pair(a, b);
  const cd = pair(c, d);
  return f.let(f32x4.add(i32x4.shuffle(ab, cd, [0, 1, 4, 5]), i32x4.shuffle(ab, cd, [2, 3, 6, 7])));
}
