import {
  assemble,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  i32,
  type KernelArgument,
  type Local,
  laneMath,
  type Value,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { type FlashParams, type FlashShape, flashInputs, flashShape } from "../flash-params.js";
import {
  emitInverse,
  emitLogSumExp,
  emitSoftmaxStart,
  emitSoftmaxStep,
  type SoftmaxState,
  softmaxState,
} from "./online-softmax.js";
import { emitPackTransposed, emitScaleRow, minimum } from "./row-moves.js";
import {
  type BiasView,
  emitAnyKey,
  emitBandMask,
  emitBias,
  emitKeyMask,
  emitKeyRange,
  emitSoftcap,
  type ScoreTile,
} from "./score-tile.js";
import { clearSteps, emitWithSlot, type ScratchSlots, scratchSlots } from "./scratch-slot.js";
import { emitTileMatmul, type MatmulRegisters, matmulRegisters } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Queries and keys of one tile: multiples of the 6 x 16 block of the product. */
export interface TileSize {
  readonly queries: number;
  readonly keys: number;
}

export function tileSizeFor(queryLen: number): TileSize {
  if (queryLen <= 16) return { queries: 16, keys: 48 };
  return { queries: 48, keys: 48 };
}

/** Where the keys and values of one batch row and kv head lie, and which positions they have. */
export interface KeyView {
  readonly key: Address;
  readonly value: Address;
  /** Number of keys. */
  readonly numKeys: Address;
  /** Position of query 0 minus that of key 0. */
  readonly offset: Address;
}

/** Addresses of the optional inputs of one batch row and head. */
export interface RuleView {
  readonly keyMask?: Value<"i32"> | undefined;
  readonly bias?: BiasView | undefined;
  readonly sink?: Value<"f32"> | undefined;
}

/** Everything that the code of one forward kernel depends on. */
export interface ForwardPlan {
  readonly shape: FlashShape;
  readonly params: FlashParams;
  readonly tile: TileSize;
  readonly slots: ScratchSlots;
  readonly features: CpuFeatures;
}

export function forwardPlan(shape: FlashShape, params: FlashParams, features: CpuFeatures): ForwardPlan {
  const tile = tileSizeFor(shape.queryLen);
  const floats = tile.queries * (4 + shape.headDim + tile.keys + shape.valueDim);
  return { shape, params, tile, features, slots: scratchSlots(features, floats * 4) };
}

/** Number of units of the forward step: one per batch row, head and tile of queries. */
export function forwardUnits({ shape, tile }: ForwardPlan): number {
  return shape.batch * shape.numHeads * Math.ceil(shape.queryLen / tile.queries);
}

/** Fewest units worth a thread: about a hundred thousand multiplications. */
export function forwardGrain({ shape, tile, params }: ForwardPlan): number {
  const { keyLen, headDim, valueDim, queryLen } = shape;
  const reach = params.left === undefined ? keyLen : Math.min(keyLen, params.left + tile.queries);
  const perUnit = Math.min(tile.queries, queryLen) * reach * (headDim + valueDim);
  return Math.max(1, Math.ceil(100_000 / perUnit));
}

/** Text that names the code of a plan. The batch size is no part of it: one module serves every batch. */
export function planKey({ shape, params, tile, features, slots }: ForwardPlan): string {
  return JSON.stringify([{ ...shape, batch: undefined }, params, tile, features, slots]);
}

/** Buffers and views that differ between plain and cached attention. */
export interface ForwardSources {
  readonly query: Address;
  readonly out: Address;
  readonly logSumExp: Address | undefined;
  readonly scratch: Address;
  keys(batchRow: Address, kvHead: Address): KeyView;
  rules(batchRow: Address, head: Address): RuleView;
}

/**
 * WebAssembly kernel of `flashAttention` for f32: tiles of queries and keys, running softmax, no score matrix.
 *
 * A unit is a tile of queries of one head; keys outside of the band and tiles of masked keys are skipped.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1. Twin: `naiveAttention`.
 */
export const flashForwardWasm: WasmKernelFactory<FlashParams> = (call, features) => {
  if (call.inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32")) return undefined;
  const plan = forwardPlan(flashShape(call.inputs), call.params, features);
  const inputs = flashInputs(call.params);
  const biasShape = inputs.bias === undefined ? undefined : call.inputs[inputs.bias]?.shape;
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const buffers = Array.from({ length: inputs.count + 2 }, () => f.param("i32"));
      const [scratch, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
      const at = (index: number | undefined) => (index === undefined ? undefined : buffers[index]);
      const [query, key, value] = buffers as [Address, Address, Address];
      const [out, logSumExp] = buffers.slice(inputs.count) as [Address, Address];
      const sources: ForwardSources = {
        query,
        out,
        logSumExp,
        scratch,
        keys: (batchRow, kvHead) => denseKeys(f, plan.shape, { key, value, batchRow, kvHead }),
        rules: (batchRow, head) =>
          denseRules(
            plan.shape,
            { keyMask: at(inputs.keyMask), bias: at(inputs.bias), sinks: at(inputs.sinks) },
            { batchRow, head, biasShape },
          ),
      };
      emitForward(f, plan, sources, { begin, end });
    });
  const args: KernelArgument[] = Array.from({ length: inputs.count + 2 }, (_, index) => ({
    kind: "buffer",
    index,
  }));
  return {
    steps: [
      ...clearSteps(plan.slots, features),
      {
        module: { key: `flash-forward ${planKey(plan)} bias ${biasShape}`, emit },
        args: [...args, { kind: "scratch", byteOffset: 0 }],
        units: forwardUnits(plan),
        grain: forwardGrain(plan),
      },
    ],
    scratchBytes: plan.slots.totalBytes,
  };
};

/** Keys and values as dense [B, G, S, D] and [B, G, S, Dv]; queries end where the keys end. */
export function denseKeys(
  f: FunctionBuilder,
  { numKvHeads, keyLen, queryLen, headDim, valueDim }: FlashShape,
  { key, value, batchRow, kvHead }: { key: Address; value: Address; batchRow: Address; kvHead: Address },
): KeyView {
  const row = f.let(i32.mul(i32.add(i32.mul(batchRow, numKvHeads), kvHead), keyLen));
  return {
    key: f.let(i32.add(key, i32.mul(row, headDim * 4))),
    value: f.let(i32.add(value, i32.mul(row, valueDim * 4))),
    numKeys: f.let(i32.const(keyLen)),
    offset: f.let(i32.const(keyLen - queryLen)),
  };
}

/** Views of key mask [B, S], bias [B or 1, H or 1, T, S] and sinks [H]. */
export function denseRules(
  { keyLen, queryLen }: FlashShape,
  inputs: { keyMask: Address | undefined; bias: Address | undefined; sinks: Address | undefined },
  at: { batchRow: Address; head: Address; biasShape: readonly number[] | undefined },
): RuleView {
  const { keyMask, bias, sinks } = inputs;
  const [biasBatch = 1, biasHeads = 1] = at.biasShape ?? [];
  const matrixBytes = queryLen * keyLen * 4;
  const batchBytes = biasBatch === 1 ? 0 : biasHeads * matrixBytes;
  const biasOffset = i32.add(
    i32.mul(at.batchRow, batchBytes),
    i32.mul(at.head, biasHeads === 1 ? 0 : matrixBytes),
  );
  return {
    keyMask: keyMask && i32.add(keyMask, i32.mul(at.batchRow, keyLen)),
    bias: bias && { address: i32.add(bias, biasOffset), queryBytes: keyLen * 4, keyBytes: 4 },
    sink: sinks && f32.load(i32.add(sinks, i32.shl(at.head, 2))),
  };
}

/** What one unit works on. */
interface ForwardUnit {
  readonly plan: ForwardPlan;
  readonly registers: MatmulRegisters;
  readonly keys: KeyView;
  readonly rules: RuleView;
  readonly firstQuery: Address;
  readonly numQueries: Address;
  readonly packedQuery: Address;
  readonly scores: Address;
  readonly output: Address;
  readonly state: SoftmaxState;
}

/** Emits the loop over units. */
export function emitForward(
  f: FunctionBuilder,
  plan: ForwardPlan,
  sources: ForwardSources,
  { begin, end }: { begin: Address; end: Address },
): void {
  const { shape, tile, features, slots } = plan;
  const registers = matmulRegisters(f, features);
  const tiles = Math.ceil(shape.queryLen / tile.queries);
  emitWithSlot(f, { slots, scratch: sources.scratch, isShared: features.sharedMemory }, (slot) => {
    const state = softmaxState(slot, tile.queries);
    const packedQuery = f.let(i32.add(slot, tile.queries * 16));
    const scores = f.let(i32.add(packedQuery, shape.headDim * tile.queries * 4));
    const output = f.let(i32.add(scores, tile.keys * tile.queries * 4));
    f.for(begin, end, 1, (unit) => {
      const head = f.let(i32.divU(unit, tiles)); // of all heads of the batch
      const firstQuery = f.let(i32.mul(i32.sub(unit, i32.mul(head, tiles)), tile.queries));
      const batchRow = f.let(i32.divU(head, shape.numHeads));
      const ownHead = f.let(i32.sub(head, i32.mul(batchRow, shape.numHeads)));
      const kvHead = f.let(i32.divU(ownHead, shape.numHeads / shape.numKvHeads));
      const numQueries = minimum(f, i32.sub(shape.queryLen, firstQuery), tile.queries);
      const firstRow = f.let(i32.add(i32.mul(head, shape.queryLen), firstQuery));
      emitPackTransposed(f, {
        source: i32.add(sources.query, i32.mul(firstRow, shape.headDim * 4)),
        target: packedQuery,
        numRows: numQueries,
        columns: shape.headDim,
        width: tile.queries,
        scale: plan.params.scale,
      });
      const rules = sources.rules(batchRow, ownHead);
      const keys = sources.keys(batchRow, kvHead);
      const work = {
        plan,
        registers,
        keys,
        rules,
        firstQuery,
        numQueries,
        packedQuery,
        scores,
        output,
        state,
      };
      emitUnit(f, work);
      emitFinish(f, work, { sources, firstRow });
    });
  });
}

/** Emits one tile of queries against all of its keys. */
function emitUnit(f: FunctionBuilder, unit: ForwardUnit): void {
  const { plan, rules, keys, firstQuery, numQueries, state, output } = unit;
  const { tile, shape, params } = plan;
  emitSoftmaxStart(f, state, { width: tile.queries, sink: rules.sink });
  f.fillMemory(output, 0, tile.queries * shape.valueDim * 4);
  const { from, to } = emitKeyRange(f, params, {
    firstQuery,
    numQueries,
    offset: keys.offset,
    numKeys: keys.numKeys,
  });
  f.for(from, to, tile.keys, (firstKey) => {
    const numKeys = minimum(f, i32.sub(to, firstKey), tile.keys);
    const scoreTile: ScoreTile = {
      address: unit.scores,
      width: tile.queries,
      numKeys,
      numQueries,
      firstKey,
      firstQuery,
      offset: keys.offset,
    };
    if (rules.keyMask === undefined) emitTile(f, unit, scoreTile);
    else f.if(emitAnyKey(f, rules.keyMask, scoreTile), () => emitTile(f, unit, scoreTile));
  });
}

function emitTile(f: FunctionBuilder, unit: ForwardUnit, tile: ScoreTile): void {
  const { plan, registers, keys, state, output, numQueries } = unit;
  const { shape, features } = plan;
  emitScores(f, unit, tile);
  emitSoftmaxStep(f, tile, { state, features });
  emitRescale(f, unit);
  emitTileMatmul(f, registers, {
    a: { address: tile.address, rowBytes: 4, columnBytes: tile.width * 4 },
    b: {
      address: i32.add(keys.value, i32.mul(tile.firstKey, shape.valueDim * 4)),
      rowBytes: shape.valueDim * 4,
    },
    c: { address: output, rowBytes: shape.valueDim * 4 },
    rows: numQueries,
    depth: tile.numKeys,
    columns: shape.valueDim,
    accumulates: true,
  });
}

/** Emits the scores of a tile: scaled products, soft cap, bias, masks. The backward pass also wants the cap's slopes. */
export function emitScores(
  f: FunctionBuilder,
  unit: Pick<ForwardUnit, "plan" | "registers" | "keys" | "rules" | "packedQuery">,
  tile: ScoreTile,
  slopes?: Address,
): void {
  const { plan, registers, keys, rules, packedQuery } = unit;
  const { params, shape, features } = plan;
  emitTileMatmul(f, registers, {
    a: {
      address: i32.add(keys.key, i32.mul(tile.firstKey, shape.headDim * 4)),
      rowBytes: shape.headDim * 4,
      columnBytes: 4,
    },
    b: { address: packedQuery, rowBytes: tile.width * 4 },
    c: { address: tile.address, rowBytes: tile.width * 4 },
    rows: tile.numKeys,
    depth: f.let(i32.const(shape.headDim)),
    columns: tile.width,
    accumulates: false,
  });
  if (params.softcap !== undefined) {
    emitSoftcap(f, tile, { cap: params.softcap, math: laneMath(f, features), slopes });
  }
  if (rules.bias !== undefined) emitBias(f, tile, rules.bias);
  emitBandMask(f, params, tile);
  if (rules.keyMask !== undefined) emitKeyMask(f, rules.keyMask, tile);
}

/** Emits the correction of what was summed under an older maximum; rows whose maximum stood are left alone. */
function emitRescale(f: FunctionBuilder, { plan, state, output, numQueries }: ForwardUnit): void {
  const { valueDim } = plan.shape;
  const row = f.let(output);
  const correctionAt = f.let(state.corrections);
  f.for(0, numQueries, 1, () => {
    const correction = f.let(f32.load(correctionAt));
    f.if(f32.ne(correction, 1), () =>
      emitScaleRow(f, { source: row, target: row, factor: correction, count: valueDim }),
    );
    f.increase(row, valueDim * 4);
    f.increase(correctionAt, 4);
  });
}

/** Emits the division by the sums and the stores to the op's outputs. */
function emitFinish(
  f: FunctionBuilder,
  { plan, state, output, numQueries }: ForwardUnit,
  { sources, firstRow }: { sources: ForwardSources; firstRow: Address },
): void {
  const { shape, tile, features } = plan;
  const rowBytes = shape.valueDim * 4;
  const source = f.let(output);
  const target = f.let(i32.add(sources.out, i32.mul(firstRow, rowBytes)));
  const sumAt = f.let(state.sums);
  f.for(0, numQueries, 1, () => {
    emitScaleRow(f, { source, target, factor: emitInverse(f, f32.load(sumAt)), count: shape.valueDim });
    f.increase(source, rowBytes);
    f.increase(target, rowBytes);
    f.increase(sumAt, 4);
  });
  if (sources.logSumExp === undefined) return;
  emitLogSumExp(f, state, { width: tile.queries, math: laneMath(f, features), target: state.corrections });
  const lseAt = i32.add(sources.logSumExp, i32.shl(firstRow, 2));
  f.copyMemory(lseAt, state.corrections, i32.shl(numQueries, 2));
}
