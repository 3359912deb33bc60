import {
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  i32,
  type KernelArgument,
  type Local,
  loadLanes,
  select,
  type Value,
} from "@heddle/tensor/kernel";
import type { Placement } from "../cache-placement.js";
import type { CachedAttentionParams, CachedInput } from "../cached-params.js";
import type { FlashShape } from "../flash-params.js";
import type { QuantisedFormat, QuantisedStores } from "../quantised-format.js";
import type { BiasAxes, KeyView } from "./flash-forward.wasm.js";
import { quantisedRows } from "./quantised-rows.js";
import { storeVectors } from "./row-moves.js";
import type { BiasView } from "./score-tile.js";

type Address = Local<"i32">;

/** Formats of stored rows that kernels read; u8 are the codes of a quantised cache. */
export type StoredDType = "f32" | "f16" | "bf16" | "u8";

/** What the code over a cache depends on beside the extents of the heads. */
export interface CachePlan {
  readonly shape: FlashShape;
  readonly params: CachedAttentionParams;
  readonly dtype: StoredDType;
  /** Keys of a tile that the stage holds. */
  readonly stagedKeys?: number;
  readonly features: CpuFeatures;
  /** Which axes of the bias are its own. */
  readonly bias: BiasAxes;
  /** A distance bias has a row for each head. */
  readonly perHead: boolean;
}

/** Extents of a launch over a cache: arguments of the code. */
export interface CacheExtents {
  readonly numSlots: Address;
  readonly maxSeqLen: Address;
  /** Rows of a block of the store; of the tail, in a quantised cache. */
  readonly blockRows: Address;
  /** Distances of a row of the distance bias. */
  readonly distances: Address;
}

/** Buffers and extents of a launch over a cache. */
export interface CacheBuffers {
  readonly inputs: { readonly [name in CachedInput]?: Address };
  readonly out: Address;
  readonly extents: CacheExtents;
}

/** Emits whether `length` tokens from `start` lie inside of the slot, and the slot inside of the cache. */
export function isInside(
  { slot, start }: { slot: Value<"i32">; start: Value<"i32"> },
  limits: { numSlots: Value<"i32">; maxSeqLen: Value<"i32">; length: Value<"i32"> },
): Value<"i32"> {
  // Unsigned comparisons refuse negative numbers, too.
  const fits = i32.leU(i32.add(start, limits.length), limits.maxSeqLen);
  return i32.and(i32.and(i32.ltU(slot, limits.numSlots), i32.ltU(start, limits.maxSeqLen)), fits);
}

export function declareCacheBuffers(f: FunctionBuilder, { inputs }: CachedAttentionParams): CacheBuffers {
  const next = () => f.param("i32");
  return {
    inputs: Object.fromEntries(inputs.map((name) => [name, next()])),
    out: next(),
    extents: { numSlots: next(), maxSeqLen: next(), blockRows: next(), distances: next() },
  };
}

/** The extents of a call, in numbers. */
export interface CacheSizes {
  readonly numSlots: number;
  readonly maxSeqLen: number;
  readonly blockRows: number;
  readonly distances: number;
}

/** Arguments in the order in which `declareCacheBuffers` reads them. */
export function cacheArguments({ inputs }: CachedAttentionParams, sizes: CacheSizes): KernelArgument[] {
  const buffers = [...inputs, "out"].map((_, index) => ({ kind: "buffer", index }) as const);
  const { numSlots, maxSeqLen, blockRows, distances } = sizes;
  const numbers = [numSlots, maxSeqLen, blockRows, distances];
  return [...buffers, ...numbers.map((value) => ({ kind: "i32", value }) as const)];
}

/** Floats that rows of a tile need where they cannot be read in place; 0 where they always can. */
export function stageFloats({ shape, params, dtype }: CachePlan, tileKeys: number): number {
  if (params.placement === "contiguous" && dtype === "f32") return 0;
  // Codes are unpacked in vectors of eight, the last of which may end behind the row.
  return tileKeys * (shape.headDim + (params.valueDim === undefined ? shape.valueDim : 0)) + 16;
}

/** Emits the block and the row of a position; a negative block is no place. Twin: `cellOf`. */
export function emitBlock(
  f: FunctionBuilder,
  at: {
    readonly placement: Placement;
    readonly pages: Address | undefined;
    readonly slot: Value<"i32">;
    readonly position: Value<"i32">;
    readonly maxSeqLen: Value<"i32">;
    readonly blockRows: Value<"i32">;
  },
): { readonly block: Address; readonly row: Address } {
  const { placement, pages, slot, position, maxSeqLen, blockRows } = at;
  if (placement === "contiguous") return { block: f.let(slot), row: f.let(position) };
  if (placement === "ring") return { block: f.let(slot), row: f.let(i32.remU(position, blockRows)) };
  const page = f.let(i32.divU(position, blockRows));
  const entry = i32.add(i32.mul(slot, i32.divU(maxSeqLen, blockRows)), page);
  return {
    block: f.let(i32.load(i32.add(pages ?? 0, i32.shl(entry, 2)))),
    row: f.let(i32.sub(position, i32.mul(page, blockRows))),
  };
}

/** Index of the op's output among its buffers. */
export function outputIndex({ inputs }: CachedAttentionParams): number {
  return inputs.length;
}

/** What a view of stored keys is made from. */
export interface CacheContext {
  readonly plan: CachePlan;
  readonly buffers: CacheBuffers;
  readonly queryLen: Value<"i32">;
}

/**
 * Emits the view of one batch row's slot: as many keys as its last query stands after; none outside of the cache. Rows that
 * cannot be read where they lie (several pages, the seam of a ring, half floats) go through `stage`.
 */
export function emitCachedKeys(
  f: FunctionBuilder,
  { plan, buffers, queryLen }: CacheContext,
  at: { batchRow: Address; kvHead: Address; stage: Address | undefined },
): KeyView {
  const { headDim, valueDim } = plan.shape;
  const { batchRow, kvHead } = at;
  const { slots, starts } = buffers.inputs as { readonly [name in CachedInput]: Address };
  const { numSlots, maxSeqLen } = buffers.extents;
  const slot = f.let(i32.load(i32.add(slots, i32.shl(batchRow, 2))));
  const start = f.let(i32.load(i32.add(starts, i32.shl(batchRow, 2))));
  // Without causality, `starts` is the number of keys less that of queries, and may be negative.
  const from = plan.params.isCausal ? start : f.let(i32.const(0));
  const length = plan.params.isCausal ? queryLen : f.let(i32.add(start, queryLen));
  const inside = f.let(isInside({ slot, start: from }, { numSlots, maxSeqLen, length }));
  const safeSlot = f.let(select(inside, slot, i32.const(0)));
  const view = { plan, buffers, slot: safeSlot, kvHead, stage: at.stage };
  const end = f.let(i32.add(from, length));
  const rows = plan.params.format === undefined ? storedRows(f, view) : codedRows(f, view, end);
  return {
    numKeys: f.let(select(inside, i32.add(from, length), i32.const(0))),
    offset: f.let(select(inside, start, i32.const(0))),
    valueRowBytes: plan.params.valueDim === undefined ? valueDim * 4 : headDim * 4,
    rowsAt: rows,
  };
}

/** Rows of a quantised cache: those of groups complete before `end` as codes. */
function codedRows(f: FunctionBuilder, stored: StoredAt, end: Address): KeyView["rowsAt"] {
  const { plan, buffers, slot, kvHead, stage } = stored;
  const { shape, params, stagedKeys = 0, features } = plan;
  const stores = buffers.inputs as QuantisedStores<Address>;
  const { bits, group } = params.format as QuantisedFormat;
  const { maxSeqLen, blockRows } = buffers.extents;
  return quantisedRows(f, {
    bits,
    group,
    stores,
    features,
    stagedKeys,
    stage: stage as Address,
    head: f.let(i32.add(i32.mul(slot, shape.numKvHeads), kvHead)),
    maxSeqLen,
    tail: blockRows,
    complete: f.let(i32.mul(i32.divU(end, group), group)),
    headDim: shape.headDim,
    valueDim: shape.valueDim,
  });
}

interface StoredAt {
  readonly plan: CachePlan;
  readonly buffers: CacheBuffers;
  readonly slot: Address;
  readonly kvHead: Address;
  readonly stage: Address | undefined;
}

/** How the rows of a tile are found: in place where they are contiguous f32, else staged. */
function storedRows(f: FunctionBuilder, stored: StoredAt): KeyView["rowsAt"] {
  const { plan, buffers, slot, kvHead, stage } = stored;
  const { placement } = plan.params;
  const dtype = plan.dtype === "u8" ? "f32" : plan.dtype;
  const { maxSeqLen, blockRows } = buffers.extents;
  const { key, value, table } = buffers.inputs as { readonly [name in CachedInput]: Address };
  const { headDim, valueDim } = plan.shape;
  const cell = (position: Value<"i32">) => {
    const { block, row } = emitBlock(f, { placement, pages: table, slot, position, maxSeqLen, blockRows });
    const index = i32.add(i32.mul(i32.add(i32.mul(block, plan.shape.numKvHeads), kvHead), blockRows), row);
    return { block, row, index: f.let(index) };
  };
  const rowOf = (base: Address, index: Address, width: number) =>
    i32.add(base, i32.mul(index, width * (dtype === "f32" ? 4 : 2)));
  const inPlace = (index: Address): { key: Address; value: Address } => {
    const keyAt = f.let(rowOf(key, index, headDim));
    return { key: keyAt, value: value === undefined ? keyAt : f.let(rowOf(value, index, valueDim)) };
  };
  if (stage === undefined) return (firstKey) => inPlace(cell(firstKey).index);
  const emitStage = (firstKey: Address, numKeys: Address) => {
    const targets = stageTargets(f, plan, { stage, key, value });
    const position = f.let(firstKey);
    f.for(0, numKeys, 1, () => {
      const { block, index } = cell(position);
      for (const { base, target, width } of targets) {
        const source = f.let(rowOf(base, index, width));
        if (placement !== "paged") emitUnpackRow(f, dtype, { source, target, width });
        else {
          f.if(
            i32.geS(block, 0),
            () => emitUnpackRow(f, dtype, { source, target, width }),
            () => f.fillMemory(target, 0, width * 4),
          );
        }
        f.increase(target, width * 4);
      }
      f.increase(position, 1);
    });
  };
  return (firstKey, numKeys) => {
    const staged = stageTargets(f, plan, { stage, key, value });
    const [stagedKey, stagedValue = stagedKey] = staged.map(({ target }) => target) as [Address, Address?];
    const result = { key: f.let(stagedKey), value: f.let(stagedValue) };
    if (dtype !== "f32") {
      emitStage(firstKey, numKeys);
      return result;
    }
    const { block, row, index } = cell(firstKey);
    const isWhole = i32.and(i32.leU(i32.add(row, numKeys), blockRows), i32.geS(block, 0));
    f.if(
      isWhole,
      () => {
        const direct = inPlace(index);
        f.set(result.key, direct.key);
        f.set(result.value, direct.value);
      },
      () => emitStage(firstKey, numKeys),
    );
    return result;
  };
}

/** Where rows are staged: keys, then values. */
function stageTargets(
  f: FunctionBuilder,
  { shape, stagedKeys = 0 }: CachePlan,
  {
    stage,
    key,
    value,
  }: { readonly stage: Address; readonly key: Address; readonly value: Address | undefined },
): { readonly base: Address; readonly target: Address; readonly width: number }[] {
  const keys = { base: key, target: f.let(stage), width: shape.headDim };
  if (value === undefined) return [keys];
  const behind = f.let(i32.add(stage, stagedKeys * shape.headDim * 4));
  return [keys, { base: value, target: behind, width: shape.valueDim }];
}

/** Emits `target[i] = source[i]` as f32 for `width` stored elements. */
function emitUnpackRow(
  f: FunctionBuilder,
  dtype: Exclude<StoredDType, "u8">,
  { source, target, width }: { readonly source: Address; readonly target: Address; readonly width: number },
): void {
  if (dtype === "f32") {
    f.copyMemory(target, source, width * 4);
    return;
  }
  const from = f.let(source);
  const to = f.let(target);
  const emitVectors = (count: number) => {
    const vectors = Array.from({ length: count }, (_, i) =>
      f.let(loadLanes(f, dtype, from, { width: 4, byteOffset: i * 8 })),
    );
    storeVectors(f, to, vectors);
    f.increase(from, count * 8);
    f.increase(to, count * 16);
  };
  // Two lie side by side, so that the engine joins them.
  f.for(0, Math.floor(width / 8), 1, () => emitVectors(2));
  if (width % 8 >= 4) emitVectors(1);
  for (let i = 0; i < width % 4; i++) {
    const lanes = loadLanes(f, dtype, from, { width: 1, byteOffset: i * 2 });
    f.storeLane(32, to, lanes, { lane: 0, byteOffset: i * 4 });
  }
}

/** Emits where the bias of a head lies: element of query i, key j at address + i queryBytes + j keyBytes. */
export function emitCachedBias(
  f: FunctionBuilder,
  { plan, buffers, queryLen }: CacheContext,
  { batchRow, head, offset }: { batchRow: Address; head: Address; offset: Value<"i32"> },
): { readonly bias: BiasView | undefined; readonly distanceBias: BiasView | undefined } {
  const { bias, distanceBias } = buffers.inputs;
  const { maxSeqLen, distances } = buffers.extents;
  const { perBatch, perHead } = plan.bias;
  const rowBytes = bias && f.let(i32.shl(maxSeqLen, 2));
  const matrix = i32.add(
    i32.mul(perBatch ? batchRow : i32.const(0), perHead ? plan.shape.numHeads : 1),
    perHead ? head : 0,
  );
  const table =
    distanceBias &&
    (plan.perHead ? i32.add(distanceBias, i32.shl(i32.mul(head, distances), 2)) : distanceBias);
  return {
    bias: bias &&
      rowBytes && {
        address: f.let(i32.add(bias, i32.mul(i32.mul(matrix, queryLen), rowBytes))),
        queryBytes: rowBytes,
        keyBytes: i32.const(4),
      },
    distanceBias: table && {
      address: f.let(i32.add(table, i32.shl(offset, 2))),
      queryBytes: i32.const(4),
      keyBytes: i32.const(-4),
      isPacked: true,
    },
  };
}

/** The sink of a head, where there are sinks. */
export function loadSink({ inputs }: CacheBuffers, head: Value<"i32">): Value<"f32"> | undefined {
  return inputs.sinks && f32.load(i32.add(inputs.sinks, i32.shl(head, 2)));
}
