import {
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  i32x4,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { type CacheBuffers, loadSink } from "./cache-view.js";
import { type DecodeUnit, scratchOf, sumBytes } from "./decode-plan.js";
import { emitWeight } from "./online-softmax.js";
import { emitScaleRow, storeVectors } from "./row-moves.js";

type Address = Local<"i32">;

/** Below any score: the running maximum before the first key. Finite, so that differences stay numbers. */
const lowest = -3e38;

/**
 * How far a score may lie above the running maximum before sums and values are corrected: weights up to e^8 lose no
 * precision, and corrections grow so rare that the branch to them is foreseen.
 */
const slack = 8;

/** Eight scores, weights or lanes of a sum: two vectors that lie side by side, so that the engine joins what is done to them. */
const pair = [0, 16] as const;
const pairBytes = 32;

/** Emits a loop over the heads of a unit's group: a head's sums and maximum in the scratch memory, and its values. */
export function emitHeads(
  f: FunctionBuilder,
  unit: DecodeUnit,
  body: (
    state: { readonly sums: Address; readonly maximum: Address },
    output: Address,
    head: Address,
  ) => void,
): void {
  const { shape, group, splits } = unit.plan;
  const at = scratchOf(unit.plan);
  const state = {
    sums: f.let(i32.add(unit.scratch, at.sums)),
    maximum: f.let(i32.add(unit.scratch, at.maxima)),
  };
  const output = f.let(unit.output);
  f.for(0, group, 1, (head) => {
    body(state, output, head);
    f.increase(state.sums, sumBytes);
    f.increase(state.maximum, 16);
    f.increase(output, shape.queryLen * splits * shape.valueDim * 4);
  });
}

/** Emits the start of each head's softmax: nothing seen, or, in the first part, only the sink. */
export function emitGroupStart(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { buffers, firstHead, isFirst }: { buffers: CacheBuffers; firstHead: Address; isFirst: Value<"i32"> },
): void {
  const startsWithSink = f.let(isFirst);
  emitHeads(f, unit, ({ sums, maximum }, output, head) => {
    f.store("v128", maximum, f32x4.splat(lowest));
    for (const v of pair) f.store("v128", sums, f32x4.splat(0), v);
    f.fillMemory(output, 0, unit.plan.shape.valueDim * 4);
    const sink = loadSink(buffers, i32.add(firstHead, head));
    if (sink === undefined) return;
    f.if(startsWithSink, () => {
      f.store("v128", maximum, f32x4.splat(sink));
      f.store("f32", sums, 1);
    });
  });
}

/** Emits the softmax of a step's keys for every head of the group: scores become weights e^(s - max), in place. */
export function emitSoftmaxStep(f: FunctionBuilder, unit: DecodeUnit, scores: Address): void {
  const { group, stepKeys, features } = unit.plan;
  const { maxima, sums } = scratchOf(unit.plan);
  const at = f.let(scores);
  const maximum = f.let(i32.add(unit.scratch, maxima));
  const rises = f.let(f32x4.splat(0));
  f.for(0, group, 1, () => {
    const largest = emitLargest(f, at, stepKeys);
    f.set(rises, v128.or(rises, f32x4.gt(f32x4.sub(largest, v128.load(maximum)), slack)));
    f.increase(at, stepKeys * 4);
    f.increase(maximum, 16);
  });
  f.if(v128.anyTrue(rises), () => emitRise(f, unit, scores));
  f.set(at, scores);
  f.set(maximum, i32.add(unit.scratch, maxima));
  const sum = f.let(i32.add(unit.scratch, sums));
  f.for(0, group, 1, () => {
    f.for(0, stepKeys / 8, 1, () => {
      const highest = f.let(v128.load32Splat(maximum));
      const weights = pair.map((v) => emitWeight(f, f32x4.sub(v128.load(at, v), highest), features));
      const totals = weights.map((weight, i) => f.let(f32x4.add(v128.load(sum, i * 16), weight)));
      storeVectors(f, at, weights);
      storeVectors(f, sum, totals);
      f.increase(at, pairBytes);
    });
    f.increase(maximum, 16);
    f.increase(sum, sumBytes);
  });
}

/** Emits the largest scores of a row, in four lanes. */
function emitLargest(f: FunctionBuilder, row: Address, stepKeys: number): Local<"v128"> {
  const vectors = Array.from({ length: stepKeys / 4 }, (_, i): Value<"v128"> => v128.load(row, i * 16));
  return f.let(vectors.reduce((a, b) => f32x4.pmax(a, b)));
}

/** Emits the rise of each head's maximum to that of new scores, and the correction of its sums and values. */
function emitRise(f: FunctionBuilder, unit: DecodeUnit, scores: Address): void {
  const { shape, stepKeys, features } = unit.plan;
  const at = f.let(scores);
  emitHeads(f, unit, ({ sums, maximum }, output) => {
    const largest = emitLargest(f, at, stepKeys);
    for (const lanes of [
      [2, 3, 0, 1],
      [1, 0, 3, 2],
    ]) {
      f.set(largest, f32x4.pmax(largest, i32x4.shuffle(largest, largest, lanes)));
    }
    const before = f.let(v128.load(maximum));
    const after = f.let(f32x4.pmax(before, largest));
    const factor = emitWeight(f, f32x4.sub(before, after), features);
    f.store("v128", maximum, after);
    for (const v of pair) f.store("v128", sums, f32x4.mul(v128.load(sums, v), factor), v);
    const scalar = f32x4.extract(factor, 0);
    emitScaleRow(f, { source: output, target: output, factor: scalar, count: shape.valueDim });
    f.increase(at, stepKeys * 4);
  });
}

/** Emits each head's maximum and sum, for the division or the merge of the parts. */
export function emitGroupStats(f: FunctionBuilder, unit: DecodeUnit): void {
  const { shape, splits } = unit.plan;
  const stats = f.let(unit.stats);
  emitHeads(f, unit, ({ sums, maximum }) => {
    const lanes = f.let(f32x4.add(v128.load(sums), v128.load(sums, 16)));
    const half = (i: number) => f32.add(f32x4.extract(lanes, i), f32x4.extract(lanes, i + 2));
    f.store("f32", stats, f32.load(maximum));
    f.store("f32", stats, f32.add(half(0), half(1)), 4);
    f.increase(stats, shape.queryLen * splits * 8);
  });
}
