import {
  assemble,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  type KernelStep,
  type Local,
  type Value,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { reachOf } from "../cached-params.js";
import {
  type CacheBuffers,
  type CacheContext,
  cacheArguments,
  declareCacheBuffers,
  emitCachedBias,
  emitCachedKeys,
  loadSink,
  outputIndex,
  stageFloats,
} from "./cache-view.js";
import type { BiasRow, DecodeCall, DecodePlan, DecodeUnit } from "./decode-plan.js";
import { type DecodeTile, emitKeyScores, tileKeys } from "./decode-scores.js";
import { emitInverse, emitWeight } from "./online-softmax.js";
import { emitReadAhead, linesFor } from "./read-ahead.js";
import { emitScaleRow, minimum } from "./row-moves.js";
import { clearSteps, emitWithSlot, scratchSlots } from "./scratch-slot.js";
import { emitTileMatmul, type MatmulRegisters, matmulRegisters, multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Capacity from which on the keys of a row are cut into parts. */
const keysPerSplit = 1024;
const lowest = -3e38;

/** Scratch floats of one unit: scores of a tile for each head of the group, and lanes of the products under way. */
const unitFloats = (group: number) => group * tileKeys + 64;

/**
 * Kernel of attention with few queries a row: each unit streams one part of the keys and values of a row and kv head once,
 * for all query heads of the group. Parts are cut by the length found in memory and merged in a second step.
 *
 * @see Dao et al. 2023, Flash-Decoding for long-context inference
 */
export function decodeKernel(call: DecodeCall): ReturnType<WasmKernelFactory> {
  const { shape, params, features } = call;
  const { batch, numHeads, numKvHeads, queryLen, keyLen, headDim, valueDim } = shape;
  const group = numHeads / numKvHeads;
  const groupRows = batch * queryLen * numKvHeads;
  const reach = reachOf(params, keyLen);
  // By the capacity alone: a row's numbers depend neither on its neighbours nor on the number of threads.
  const splits = Math.min(8, Math.ceil(reach / keysPerSplit));
  const staged = stageFloats(call, tileKeys);
  const slots = staged === 0 ? undefined : scratchSlots(features, staged * 4);
  const plan: DecodePlan = { ...call, stagedKeys: tileKeys, group, splits, slots };
  const work = (group * (headDim + valueDim) * reach) / (2 * splits);
  const rows = batch * numHeads * queryLen;
  const statsBytes = Math.ceil((rows * splits * 8) / 64) * 64;
  const partsBytes = splits === 1 ? 0 : Math.ceil((rows * splits * valueDim * 4) / 64) * 64;
  const statsAt = slots?.totalBytes ?? 0;
  const scoresAt = statsAt + statsBytes + partsBytes;
  const stats = { kind: "scratch", byteOffset: statsAt } as const;
  const parts =
    splits === 1
      ? ({ kind: "buffer", index: outputIndex(params) } as const)
      : ({ kind: "scratch", byteOffset: statsAt + statsBytes } as const);
  const main: KernelStep = {
    module: {
      key: `decode ${decodeKey(plan)}`,
      emit: () => assemble({ sharedMemory: features.sharedMemory }, (f) => emitDecode(f, plan)),
    },
    args: [
      ...cacheArguments(params, call.extents),
      stats,
      parts,
      { kind: "scratch", byteOffset: scoresAt },
      { kind: "i32", value: batch * queryLen },
      ...(slots === undefined ? [] : [{ kind: "scratch", byteOffset: 0 } as const]),
    ],
    units: groupRows * splits,
    grain: Math.max(1, Math.ceil(65_536 / work)),
  };
  const merge: KernelStep = {
    module: {
      key: `decode-merge ${splits} ${valueDim} ${features.relaxedSimd} shared ${features.sharedMemory}`,
      emit: () => assemble({ sharedMemory: features.sharedMemory }, (f) => emitMerge(f, plan)),
    },
    args: [stats, parts, { kind: "buffer", index: outputIndex(params) }],
    units: rows,
    grain: Math.max(1, Math.ceil(16_384 / (splits * valueDim))),
  };
  return {
    steps: [
      ...(slots === undefined ? [] : clearSteps(slots, features)),
      main,
      ...(splits === 1 ? [] : [merge]),
    ],
    scratchBytes: scoresAt + groupRows * splits * unitFloats(group) * 4,
  };
}

/** Text that names the code: all but batch and the extents of the cache, which it reads as arguments. */
function decodeKey({ shape, params, dtype, bias, perHead, features, splits, slots }: DecodePlan): string {
  const { numHeads, numKvHeads, queryLen, headDim, valueDim } = shape;
  const heads = [numHeads, numKvHeads, queryLen, headDim, valueDim];
  return JSON.stringify([heads, params, dtype, bias, perHead, features, splits, slots]);
}

/** Emits the loop over units: kv head by kv head, so that rows of one slot find its keys in the cache. */
function emitDecode(f: FunctionBuilder, plan: DecodePlan): void {
  const { params, features, slots } = plan;
  const buffers = declareCacheBuffers(f, params);
  const next = () => f.param("i32");
  const memory = { stats: next(), parts: next(), scratch: next(), tokens: next() };
  const stages = slots === undefined ? undefined : next();
  const [begin, end] = [next(), next()];
  const registers = matmulRegisters(f, features);
  const loop = (stage: Address | undefined) =>
    f.for(begin, end, 1, (unit) => emitUnit(f, { plan, buffers, registers, memory, stage, unit }));
  if (slots === undefined || stages === undefined) loop(undefined);
  else emitWithSlot(f, { slots, scratch: stages, isShared: features.sharedMemory }, loop);
}

interface UnitContext {
  readonly plan: DecodePlan;
  readonly buffers: CacheBuffers;
  readonly registers: MatmulRegisters;
  readonly memory: {
    readonly stats: Address;
    readonly parts: Address;
    readonly scratch: Address;
    /** Number of tokens of the batch. */
    readonly tokens: Address;
  };
  readonly stage: Address | undefined;
  readonly unit: Address;
}

/** Emits one part of the keys of a token and kv head. */
function emitUnit(f: FunctionBuilder, context: UnitContext): void {
  const { plan, buffers, registers, memory, stage, unit } = context;
  const { shape, params, group, splits } = plan;
  const { queryLen, numHeads, headDim, valueDim } = shape;
  const row = f.let(i32.divU(unit, splits));
  const split = f.let(i32.sub(unit, i32.mul(row, splits)));
  const kvHead = f.let(i32.divU(row, memory.tokens));
  const token = f.let(i32.sub(row, i32.mul(kvHead, memory.tokens))); // of all tokens of the batch
  const batchRow = f.let(i32.divU(token, queryLen));
  const queryIndex = f.let(i32.sub(token, i32.mul(batchRow, queryLen)));
  const firstHead = f.let(i32.mul(kvHead, group));
  const head = i32.add(i32.mul(batchRow, numHeads), firstHead);
  const firstRow = f.let(i32.add(i32.mul(head, queryLen), queryIndex)); // of [B, H, T]
  const part = f.let(i32.add(i32.mul(firstRow, splits), split));
  const view: CacheContext = { plan, buffers, queryLen: i32.const(queryLen) };
  const keys = emitCachedKeys(f, view, { batchRow, kvHead, stage });
  const { numKeys, offset } = keys;
  const length = f.let(params.isCausal ? i32.add(i32.add(offset, queryIndex), 1) : numKeys);
  f.if(i32.eqz(numKeys), () => f.set(length, 0));
  const work: DecodeUnit = {
    plan,
    registers,
    query: f.let(i32.add(buffers.inputs.query ?? 0, i32.mul(firstRow, headDim * 4))),
    keys,
    biases: emitBiasRows(f, { ...view, plan }, { batchRow, head: firstHead, offset, queryIndex }),
    scores: f.let(i32.add(memory.scratch, i32.mul(unit, unitFloats(group) * 4))),
    stats: f.let(i32.add(memory.stats, i32.shl(part, 3))),
    output: f.let(i32.add(memory.parts, i32.mul(part, valueDim * 4))),
  };
  emitStart(f, work, { buffers, firstHead, isFirst: i32.eqz(split) });
  emitStream(f, work, emitPart(f, plan, { length, split }));
  if (splits === 1) emitDivide(f, work);
}

/** Emits where the bias of a unit's query begins: of its first head, at key 0. */
function emitBiasRows(
  f: FunctionBuilder,
  view: CacheContext & { readonly plan: DecodePlan },
  at: {
    readonly batchRow: Address;
    readonly head: Address;
    readonly offset: Address;
    readonly queryIndex: Address;
  },
): DecodeUnit["biases"] {
  const { plan, buffers, queryLen } = view;
  const { bias, distanceBias } = emitCachedBias(f, view, at);
  const { maxSeqLen, distances } = buffers.extents;
  const row = (start: NonNullable<typeof bias>, headBytes: Value<"i32">): BiasRow => ({
    address: f.let(i32.add(start.address, i32.mul(at.queryIndex, start.queryBytes))),
    headBytes: f.let(headBytes),
  });
  const matrixBytes = i32.mul(i32.shl(maxSeqLen, 2), plan.bias.perHead ? queryLen : 0);
  return {
    bias: bias && row(bias, matrixBytes),
    distanceBias: distanceBias && row(distanceBias, plan.perHead ? i32.shl(distances, 2) : i32.const(0)),
  };
}

/** Emits the start of each head's softmax: nothing seen, or, in the first part, only the sink. */
function emitStart(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { buffers, firstHead, isFirst }: { buffers: CacheBuffers; firstHead: Address; isFirst: Value<"i32"> },
): void {
  const head = f.let(firstHead);
  const startsWithSink = f.let(isFirst);
  emitHeads(f, unit, (stats, row) => {
    f.store("f32", stats, lowest);
    f.store("f32", stats, 0, 4);
    const sink = loadSink(buffers, head);
    if (sink !== undefined) {
      f.if(startsWithSink, () => {
        f.store("f32", stats, sink);
        f.store("f32", stats, 1, 4);
      });
    }
    f.fillMemory(row, 0, unit.plan.shape.valueDim * 4);
    f.increase(head, 1);
  });
}

/** Emits a loop over the heads of a unit's group; `body` gets the addresses of a head's statistics and values. */
function emitHeads(
  f: FunctionBuilder,
  unit: DecodeUnit,
  body: (stats: Address, output: Address) => void,
): void {
  const { shape, group, splits } = unit.plan;
  const apart = shape.queryLen * splits;
  const stats = f.let(unit.stats);
  const output = f.let(unit.output);
  f.for(0, group, 1, () => {
    body(stats, output);
    f.increase(stats, apart * 8);
    f.increase(output, apart * shape.valueDim * 4);
  });
}

/** Emits the division by the sums, in place. */
function emitDivide(f: FunctionBuilder, unit: DecodeUnit): void {
  emitHeads(f, unit, (stats, output) =>
    emitScaleRow(f, {
      source: output,
      target: output,
      factor: emitInverse(f, f32.load(stats, 4)),
      count: unit.plan.shape.valueDim,
    }),
  );
}

/** Emits the range of keys of one part. */
function emitPart(
  f: FunctionBuilder,
  { params, splits }: DecodePlan,
  { length, split }: { length: Address; split: Address },
): { from: Address; to: Address } {
  const first = f.let(i32.const(0));
  if (params.left !== undefined) {
    f.set(first, i32.sub(length, params.left + 1));
    f.if(i32.ltS(first, 0), () => f.set(first, 0));
  }
  if (params.chunk !== undefined) {
    const position = i32.sub(length, 1);
    const start = f.let(i32.sub(position, i32.remU(position, params.chunk)));
    f.if(i32.gtS(start, first), () => f.set(first, start));
    f.if(i32.eqz(length), () => f.set(first, 0));
  }
  const count = i32.sub(length, first);
  const size = f.let(i32.divU(i32.add(count, splits - 1), splits));
  const from = minimum(f, i32.add(first, i32.mul(split, size)), length);
  return { from, to: minimum(f, i32.add(from, size), length) };
}

/** Emits the running softmax over a range of keys. */
function emitStream(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { from, to }: { from: Address; to: Address },
): void {
  const { plan, output, scores, keys } = unit;
  const { group, splits, shape } = plan;
  const { headDim, valueDim, queryLen } = shape;
  const groupRows = f.let(i32.const(group));
  // Staged rows have just been read, and where values are a part of the keys, so have they.
  const isReadAhead = plan.slots === undefined && plan.params.valueDim === undefined;
  const word = f.let(i32.const(0));
  f.for(from, to, tileKeys, (firstKey) => {
    const numKeys = minimum(f, i32.sub(to, firstKey), tileKeys);
    const tile: DecodeTile = { firstKey, numKeys, rows: keys.rowsAt(firstKey, numKeys) };
    const value = f.let(tile.rows.value);
    const end = f.let(i32.add(value, i32.mul(numKeys, keys.valueRowBytes)));
    emitKeyScores(f, unit, tile, isReadAhead ? { at: value, end, word } : undefined);
    emitRowSoftmax(f, unit, numKeys);
    const nextKeys = isReadAhead ? emitNextKeys(f, unit, { from: firstKey, to }) : undefined;
    const blocks = decodeBlocks(group, unit.registers);
    const lines = linesFor(tileKeys * headDim * 4, (tileKeys / 4) * numBlocks(blocks, group, valueDim));
    emitTileMatmul(f, unit.registers, {
      a: { address: scores, rowBytes: tileKeys * 4, columnBytes: 4 },
      b: { address: tile.rows.value, rowBytes: keys.valueRowBytes },
      c: { address: output, rowBytes: queryLen * splits * valueDim * 4 },
      rows: groupRows,
      depth: numKeys,
      columns: valueDim,
      accumulates: true,
      blocks,
      beside: nextKeys && (() => emitReadAhead(f, { ...nextKeys, word }, lines)),
    });
  });
  f.store("i32", scores, word, group * tileKeys * 4);
}

/** Emits where the keys behind a tile lie: nowhere, if it is the last of its part. */
function emitNextKeys(
  f: FunctionBuilder,
  { keys, plan }: DecodeUnit,
  { from, to }: { readonly from: Address; readonly to: Address },
): { readonly at: Address; readonly end: Address } {
  const first = f.let(i32.add(from, tileKeys));
  const at = f.let(i32.const(0));
  const end = f.let(i32.const(0));
  f.if(i32.ltS(first, to), () => {
    const numKeys = minimum(f, i32.sub(to, first), tileKeys);
    f.set(at, keys.rowsAt(first, numKeys).key);
    f.set(end, i32.add(at, i32.mul(numKeys, plan.shape.headDim * 4)));
  });
  return { at, end };
}

/** Register blocks of whole width that a product of a tile's values has. */
function numBlocks({ rows, columns }: Blocks, group: number, valueDim: number): number {
  return Math.ceil(group / (rows[0] ?? 1)) * Math.max(1, Math.floor(valueDim / (columns[0] ?? 1)));
}

interface Blocks {
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

/** Register blocks for `group` rows: as many sums at once as hide the latency of an addition. */
function decodeBlocks(group: number, { maxColumns }: MatmulRegisters): Blocks {
  if (group === 1) return { rows: [1], columns: [32, 16, 8, 4, 1] };
  const rows = group <= 6 ? [group] : [6, group % 6 || 1];
  return { rows, columns: maxColumns === 16 ? [16, 8, 4, 1] : [8, 4, 1] };
}

/** Emits the softmax step of each head's row of scores: weights in place, statistics, values corrected. */
function emitRowSoftmax(f: FunctionBuilder, unit: DecodeUnit, numKeys: Address): void {
  const { features, shape } = unit.plan;
  const row = f.let(unit.scores);
  emitHeads(f, unit, (stats, output) => {
    const before = f.let(f32.load(stats));
    const maxima = f.let(f32x4.splat(before));
    const at = f.let(row);
    f.for(0, numKeys, 4, () => {
      f.set(maxima, f32x4.pmax(maxima, v128.load(at)));
      f.increase(at, 16);
    });
    const maximum = f.let(emitLaneFold(f, maxima, f32.max));
    const sums = f.let(f32x4.splat(0));
    f.set(at, row);
    f.for(0, numKeys, 4, () => {
      const weight = emitWeight(f, f32x4.sub(v128.load(at), f32x4.splat(maximum)), features);
      f.store("v128", at, weight);
      f.set(sums, f32x4.add(sums, weight));
      f.increase(at, 16);
    });
    const correction = f.let(
      f32x4.extract(emitWeight(f, f32x4.splat(f32.sub(before, maximum)), features), 0),
    );
    f.if(f32.ne(correction, 1), () =>
      emitScaleRow(f, { source: output, target: output, factor: correction, count: shape.valueDim }),
    );
    const sum = f32.mul(f32.load(stats, 4), correction);
    f.store("f32", stats, f32.add(sum, emitLaneFold(f, sums, f32.add)), 4);
    f.store("f32", stats, maximum);
    f.increase(row, tileKeys * 4);
  });
}

function emitLaneFold(
  f: FunctionBuilder,
  lanes: Local<"v128">,
  fold: (a: Value<"f32">, b: Value<"f32">) => Value<"f32">,
): Value<"f32"> {
  const half = (i: number) => f.let(fold(f32x4.extract(lanes, i), f32x4.extract(lanes, i + 2)));
  return fold(half(0), half(1));
}

/** Emits the merge of the parts of each row: out = sum(e^(m_i - m) acc_i) / sum(e^(m_i - m) l_i). */
function emitMerge(f: FunctionBuilder, { splits, shape, features }: DecodePlan): void {
  const { valueDim } = shape;
  const madd = multiplyAddFor(features);
  const next = () => f.param("i32");
  const [stats, parts, out, begin, end] = [next(), next(), next(), next(), next()];
  const indices = Array.from({ length: splits }, (_, i) => i);
  f.for(begin, end, 1, (row) => {
    const at = f.let(i32.add(stats, i32.mul(row, splits * 8)));
    const first = f.let(i32.add(parts, i32.mul(row, splits * valueDim * 4)));
    const target = f.let(i32.add(out, i32.mul(row, valueDim * 4)));
    const maximum = f.let(f32.load(at));
    for (const i of indices) f.set(maximum, f32.max(maximum, f32.load(at, i * 8)));
    const total = f.let(f32.const(0));
    const factors = indices.map((i) => {
      const exponent = f32.sub(f32.load(at, i * 8), maximum);
      const factor = f.let(f32x4.extract(emitWeight(f, f32x4.splat(exponent), features), 0));
      f.set(total, f32.add(total, f32.mul(factor, f32.load(at, i * 8 + 4))));
      return factor;
    });
    const inverse = emitInverse(f, total);
    const weights = factors.map((factor) => f.let(f32x4.splat(f32.mul(factor, inverse))));
    const emitSum = (load: typeof v128.load) =>
      weights.reduce<Value<"v128">>(
        (sum, weight, i) => madd(weight, load(first, i * valueDim * 4), sum),
        f32x4.splat(0),
      );
    f.for(0, Math.floor(valueDim / 4), 1, () => {
      f.store("v128", target, emitSum(v128.load));
      f.increase(first, 16);
      f.increase(target, 16);
    });
    for (let i = 0; i < valueDim % 4; i++) {
      f.storeLane(32, target, emitSum(v128.load32Zero), { lane: 0 });
      f.increase(first, 4);
      f.increase(target, 4);
    }
  });
}
