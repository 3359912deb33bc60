import {
  assemble,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  type KernelStep,
  type Local,
  select,
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
  outputIndex,
  stageFloats,
} from "./cache-view.js";
import {
  type BiasRow,
  type DecodeCall,
  type DecodePlan,
  type DecodeUnit,
  scratchOf,
  stepKeysFor,
} from "./decode-plan.js";
import { emitBiasPointers, emitScores } from "./decode-scores.js";
import { emitGroupStart, emitGroupStats, emitHeads, emitSoftmaxStep } from "./decode-softmax.js";
import { emitInverse, emitWeight } from "./online-softmax.js";
import { pacedReads } from "./read-ahead.js";
import { emitScaleRow, minimum } from "./row-moves.js";
import { clearSteps, emitWithSlot, scratchSlots } from "./scratch-slot.js";
import { emitTileMatmul, type MatmulRegisters, matmulRegisters, multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Capacity from which on the keys of a row are cut into parts. */
const keysPerSplit = 1024;

/** Keys that are staged together, where rows cannot be read in place. */
const stagedKeys = 64;

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
  const staged = stageFloats(call, stagedKeys);
  const slots = staged === 0 ? undefined : scratchSlots(features, staged * 4);
  const stepKeys = stepKeysFor(group, valueDim);
  const plan: DecodePlan = { ...call, stagedKeys, group, splits, slots, stepKeys };
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
    scratchBytes: scoresAt + groupRows * splits * scratchOf(plan).totalBytes,
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
    scratch: f.let(i32.add(memory.scratch, i32.mul(unit, scratchOf(plan).totalBytes))),
    stats: f.let(i32.add(memory.stats, i32.shl(part, 3))),
    output: f.let(i32.add(memory.parts, i32.mul(part, valueDim * 4))),
  };
  emitGroupStart(f, work, { buffers, firstHead, isFirst: i32.eqz(split) });
  emitStream(f, work, emitPart(f, plan, { length, split }));
  emitGroupStats(f, work);
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

/** Emits the division by the sums, in place. */
function emitDivide(f: FunctionBuilder, unit: DecodeUnit): void {
  const { shape, splits } = unit.plan;
  const stats = f.let(unit.stats);
  emitHeads(f, unit, (_state, output) => {
    const factor = emitInverse(f, f32.load(stats, 4));
    emitScaleRow(f, { source: output, target: output, factor, count: shape.valueDim });
    f.increase(stats, shape.queryLen * splits * 8);
  });
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

/** Emits the running softmax over a range of keys: as many at a time as are staged, or all. */
function emitStream(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { from, to }: { from: Address; to: Address },
): void {
  if (unit.plan.slots === undefined) {
    emitRun(f, unit, { firstKey: from, numKeys: f.let(i32.sub(to, from)) });
    return;
  }
  f.for(from, to, stagedKeys, (firstKey) => {
    emitRun(f, unit, { firstKey, numKeys: minimum(f, i32.sub(to, firstKey), stagedKeys) });
  });
}

/**
 * Emits the running softmax over keys that lie one behind the other, a step at a time: their scores, then the products of the
 * weights and values of the step before, then their weights, which are found while the next products go on. Beside products of
 * keys the values that come next are read, and beside those of values the next keys: two streams from memory in short turns.
 */
function emitRun(
  f: FunctionBuilder,
  unit: DecodeUnit,
  { firstKey, numKeys }: { firstKey: Address; numKeys: Address },
): void {
  const { plan, keys } = unit;
  const { shape, stepKeys } = plan;
  // Values that are a part of the keys are best multiplied while those are near.
  const isOverlapped = plan.params.valueDim === undefined;
  // Staged rows have just been read. Long steps leave memory time.
  const isReadAhead = isOverlapped && plan.slots === undefined && stepKeys === 8;
  const rows = keys.rowsAt(firstKey, numKeys);
  const key = f.let(rows.key);
  const value = f.let(rows.value);
  const biases = emitBiasPointers(f, unit, firstKey);
  const {
    scores: [even, odd],
  } = scratchOf(plan);
  const scores = f.let(i32.add(unit.scratch, even));
  const weights = f.let(i32.add(unit.scratch, odd));
  const count = f.let(i32.const(stepKeys));
  const keyBytes = stepKeys * shape.headDim * 4;
  const valueBytes = stepKeys * keys.valueRowBytes;
  f.for(0, numKeys, stepKeys, (first) => {
    f.set(count, i32.sub(numKeys, first));
    emitScores(f, unit, { key, count, scores, biases }, isReadAhead ? value : undefined);
    const next = f.let(select(i32.gtS(count, stepKeys), i32.add(key, keyBytes), key));
    const emitWeighted = (weighted: Address, depth: Address | number) => {
      emitValues(f, unit, { weights: weighted, value, depth, ahead: isReadAhead ? next : undefined });
      f.increase(value, valueBytes);
    };
    if (isOverlapped) f.if(i32.gtS(first, 0), () => emitWeighted(weights, stepKeys));
    emitSoftmaxStep(f, unit, scores);
    if (!isOverlapped) emitWeighted(scores, minimum(f, count, stepKeys));
    f.set(key, next);
    f.set(weights, scores);
    f.set(scores, i32.sub(i32.add(i32.shl(unit.scratch, 1), even + odd), weights));
  });
  if (!isOverlapped) return;
  f.if(i32.gtS(numKeys, 0), () => emitValues(f, unit, { weights, value, depth: count, ahead: undefined }));
}

/** Emits the products of the weights and values of a step's keys, added to the values so far. */
function emitValues(
  f: FunctionBuilder,
  { plan, registers, keys, output }: DecodeUnit,
  {
    weights,
    value,
    depth,
    ahead,
  }: {
    /** [group, stepKeys] */
    readonly weights: Address;
    readonly value: Address;
    readonly depth: Address | number;
    /** The keys of a step that are read meanwhile. */
    readonly ahead: Address | undefined;
  },
): void {
  const { group, splits, stepKeys } = plan;
  const { headDim, valueDim, queryLen } = plan.shape;
  const blocks = decodeBlocks(group, registers);
  const at = ahead && f.let(ahead);
  const beside = (width: number) => {
    // Of four keys, for all columns and all blocks of heads.
    const bytes = Math.floor((4 * headDim * 4 * width) / valueDim / Math.ceil(group / (blocks.rows[0] ?? 1)));
    return { emit: pacedReads(f, at as Address, bytes), next: () => f.increase(at as Address, bytes) };
  };
  emitTileMatmul(f, registers, {
    a: { address: weights, rowBytes: stepKeys * 4, columnBytes: 4 },
    b: { address: value, rowBytes: keys.valueRowBytes },
    c: { address: output, rowBytes: queryLen * splits * valueDim * 4 },
    rows: f.let(i32.const(group)),
    depth,
    columns: valueDim,
    accumulates: true,
    blocks,
    beside: ahead && beside,
  });
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
