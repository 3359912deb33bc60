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
import {
  type FlashParams,
  type FlashShape,
  flashInputs,
  flashShape,
  type TileSize,
  tileSizeFor,
} from "../flash-params.js";
import { emitKeyRange, emitMask, emitTileState, type MaskView, type TileRange } from "./mask-tile.js";
import {
  emitInverse,
  emitLogSumExp,
  emitSoftmaxStart,
  emitSoftmaxStep,
  type SoftmaxState,
  softmaxState,
} from "./online-softmax.js";
import { emitPackTransposed, emitScaleRow, minimum } from "./row-moves.js";
import { type BiasView, emitBias, emitSoftcap, type ScoreTile } from "./score-tile.js";
import { clearSteps, emitWithSlot, type ScratchSlots, scratchSlots } from "./scratch-slot.js";
import { emitTileMatmul, type MatmulRegisters, matmulRegisters } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Lengths of a call, which its code reads as arguments: one module serves them all. */
export interface Lengths {
  readonly queryLen: Address;
  readonly keyLen: Address;
}

/** The keys and values of one batch row and kv head, and which positions they have. */
export interface KeyView {
  /** Number of keys. */
  readonly numKeys: Address;
  /** Position of query 0 minus that of key 0. */
  readonly offset: Address;
  /** Bytes from one value to the next. */
  readonly valueRowBytes: number;
  /** Emits whatever makes the rows of a tile contiguous f32, and says where they lie. */
  rowsAt(firstKey: Address, numKeys: Address): KeyRows;
}

/** Addresses of the first key and the first value of a tile. */
export interface KeyRows {
  readonly key: Address;
  readonly value: Address;
}

/** The optional inputs of one batch row and head. */
export interface RuleView {
  readonly mask?: MaskView | undefined;
  readonly biases: readonly BiasView[];
  readonly sink?: Value<"f32"> | undefined;
}

/** Everything that the code of one forward kernel depends on, and the extents of the call. */
export interface ForwardPlan {
  /** Code must not depend on its batch and lengths. */
  readonly shape: FlashShape;
  readonly params: FlashParams;
  readonly tile: TileSize;
  readonly slots: ScratchSlots;
  readonly features: CpuFeatures;
}

/** `stageFloats` more floats a thread are handed to `sources.keys`. */
export function forwardPlan(
  shape: FlashShape,
  params: FlashParams,
  { features, stageFloats = 0 }: { readonly features: CpuFeatures; readonly stageFloats?: number },
): ForwardPlan {
  const tile = tileSizeFor(shape.queryLen, params.mask);
  const slots = scratchSlots(features, (unitFloats(shape, tile) + stageFloats) * 4);
  return { shape, params, tile, features, slots };
}

/** Floats of a unit: state of the softmax, packed queries, scores, output. */
function unitFloats({ headDim, valueDim }: FlashShape, tile: TileSize): number {
  return tile.queries * (4 + headDim + tile.keys + valueDim);
}

/** Number of units of the forward step: one per batch row, head and tile of queries. */
export function forwardUnits({ shape, tile }: ForwardPlan): number {
  return shape.batch * shape.numHeads * Math.ceil(shape.queryLen / tile.queries);
}

/** Fewest units worth a thread: about a hundred thousand multiplications. */
export function forwardGrain({ shape, tile }: ForwardPlan): number {
  const { keyLen, headDim, valueDim, queryLen } = shape;
  const perUnit = Math.min(tile.queries, queryLen) * keyLen * (headDim + valueDim);
  return Math.max(1, Math.ceil(100_000 / perUnit));
}

/** Text that names the code of a plan. Batch and lengths are no part of it: one module serves them all. */
export function planKey({ shape, params, tile, features, slots }: ForwardPlan): string {
  const { numHeads, numKvHeads, headDim, valueDim } = shape;
  return JSON.stringify([numHeads, numKvHeads, headDim, valueDim, params, tile, features, slots]);
}

/** Arguments of the lengths, in the order in which `declareLengths` reads them. */
export function lengthArguments({ queryLen, keyLen }: FlashShape): KernelArgument[] {
  return [queryLen, keyLen].map((value) => ({ kind: "i32", value }) as const);
}

export function declareLengths(f: FunctionBuilder): Lengths {
  return { queryLen: f.param("i32"), keyLen: f.param("i32") };
}

/** Buffers and views that differ between plain and cached attention. */
export interface ForwardSources {
  readonly query: Address;
  readonly out: Address;
  readonly logSumExp: Address | undefined;
  /** Where the numbers of visited tiles go, one per unit. */
  readonly tiles: Address | undefined;
  readonly scratch: Address;
  readonly lengths: Lengths;
  keys(batchRow: Address, kvHead: Address, stage: Address): KeyView;
  rules(batchRow: Address, head: Address, keys: KeyView): RuleView;
}

/**
 * WebAssembly kernel of `flashAttention` for f32: tiles of queries and keys, running softmax, no score matrix.
 *
 * A unit is a tile of queries of one head; tiles of keys that the mask hides are skipped. Lengths are arguments of the code.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1. Twin: `naiveAttention`.
 */
export const flashForwardWasm: WasmKernelFactory<FlashParams> = (call, features) => {
  if (call.inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32")) return undefined;
  const plan = forwardPlan(flashShape(call.inputs), call.params, { features });
  const inputs = flashInputs(call.params);
  const numBuffers = inputs.count + call.outputs.length;
  const bias = flashBiasAxes(call.params, call.inputs);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const buffers = Array.from({ length: numBuffers }, () => f.param("i32"));
      const scratch = f.param("i32");
      const lengths = declareLengths(f);
      const [begin, end] = [f.param("i32"), f.param("i32")];
      const at = (index: number | undefined) => (index === undefined ? undefined : buffers[index]);
      const [query, key, value] = buffers as [Address, Address, Address];
      const [out, logSumExp, tiles] = buffers.slice(inputs.count) as [Address, Address, Address | undefined];
      const tensors = {
        mask: inputs.mask.map((index) => buffers[index] as Address),
        bias: at(inputs.bias),
        distanceBias: at(inputs.distanceBias),
        sinks: at(inputs.sinks),
      };
      const sources: ForwardSources = {
        query,
        out,
        logSumExp,
        tiles,
        scratch,
        lengths,
        keys: (batchRow, kvHead) => denseKeys(f, plan.shape, { key, value, batchRow, kvHead, lengths }),
        rules: (batchRow, head) => denseRules(f, plan, tensors, { batchRow, head, lengths, bias }),
      };
      emitForward(f, plan, sources, { begin, end });
    });
  const args: KernelArgument[] = Array.from({ length: numBuffers }, (_, index) => ({
    kind: "buffer",
    index,
  }));
  return {
    steps: [
      ...clearSteps(plan.slots, features),
      {
        module: { key: `flash-forward ${planKey(plan)} bias ${JSON.stringify(bias)}`, emit },
        args: [...args, { kind: "scratch", byteOffset: 0 }, ...lengthArguments(plan.shape)],
        units: forwardUnits(plan),
        grain: forwardGrain(plan),
      },
    ],
    scratchBytes: plan.slots.totalBytes,
  };
};

/** Which axes of a bias are its own, not shared. */
export interface BiasAxes {
  readonly perBatch: boolean;
  readonly perHead: boolean;
}

/** The same of both biases of a call. */
export interface FlashBiasAxes extends BiasAxes {
  readonly distancePerHead: boolean;
}

export function flashBiasAxes(
  params: FlashParams,
  inputs: readonly { readonly shape: readonly number[] }[],
): FlashBiasAxes {
  const at = flashInputs(params);
  const shapeOf = (index: number | undefined) => (index === undefined ? undefined : inputs[index]?.shape);
  return { ...biasAxes(shapeOf(at.bias)), distancePerHead: (shapeOf(at.distanceBias)?.[0] ?? 1) !== 1 };
}

export function biasAxes(shape: readonly number[] | undefined): BiasAxes {
  const [batch = 1, heads = 1] = shape ?? [];
  return { perBatch: batch !== 1, perHead: heads !== 1 };
}

/** Keys and values as dense [B, G, S, D] and [B, G, S, Dv]; queries end where the keys end. */
export function denseKeys(
  f: FunctionBuilder,
  { numKvHeads, headDim, valueDim }: FlashShape,
  at: { key: Address; value: Address; batchRow: Address; kvHead: Address; lengths: Lengths },
): KeyView {
  const { key, value, batchRow, kvHead, lengths } = at;
  const row = f.let(i32.mul(i32.add(i32.mul(batchRow, numKvHeads), kvHead), lengths.keyLen));
  return {
    numKeys: f.let(lengths.keyLen),
    offset: f.let(i32.sub(lengths.keyLen, lengths.queryLen)),
    valueRowBytes: valueDim * 4,
    rowsAt: (firstKey) => ({
      key: f.let(i32.add(key, i32.mul(i32.add(row, firstKey), headDim * 4))),
      value: f.let(i32.add(value, i32.mul(i32.add(row, firstKey), valueDim * 4))),
    }),
  };
}

/** Tensors that decide the scores; undefined where absent. */
export interface RuleTensors {
  readonly mask: readonly Address[];
  readonly bias: Address | undefined;
  readonly distanceBias: Address | undefined;
  readonly sinks: Address | undefined;
}

/** Views of the mask's tensors, bias [B or 1, H or 1, T, S], distance bias [H or 1, T + S - 1] and sinks [H]. */
export function denseRules(
  f: FunctionBuilder,
  { shape, params }: ForwardPlan,
  inputs: RuleTensors,
  at: { batchRow: Address; head: Address; lengths: Lengths; bias: FlashBiasAxes },
): RuleView {
  const { batchRow, head, lengths } = at;
  const { bias, distanceBias, sinks } = inputs;
  const matrices = i32.add(
    i32.mul(at.bias.perBatch ? batchRow : i32.const(0), at.bias.perHead ? shape.numHeads : 1),
    at.bias.perHead ? head : 0,
  );
  const rowBytes = bias && f.let(i32.shl(lengths.keyLen, 2));
  const biases: BiasView[] = [];
  if (bias !== undefined && rowBytes !== undefined) {
    const address = f.let(i32.add(bias, i32.mul(i32.mul(matrices, lengths.queryLen), rowBytes)));
    biases.push({ address, queryBytes: rowBytes, keyBytes: i32.const(4) });
  }
  if (distanceBias !== undefined) {
    biases.push(distanceView(f, distanceBias, { row: at.bias.distancePerHead ? head : undefined, lengths }));
  }
  return {
    mask: params.mask && {
      rule: params.mask,
      inputs: inputs.mask,
      batchRow,
      head,
      numHeads: shape.numHeads,
      ...lengths,
    },
    biases,
    sink: sinks && f32.load(i32.add(sinks, i32.shl(head, 2))),
  };
}

/** A row of a table of distances [rows, T + S - 1] as a bias: query i and key j read element i - j + S - 1. */
export function distanceView(
  f: FunctionBuilder,
  table: Address,
  {
    row,
    lengths: { queryLen, keyLen },
  }: { readonly row: Value<"i32"> | undefined; readonly lengths: Lengths },
): BiasView {
  const first = i32.sub(keyLen, 1);
  const element = row === undefined ? first : i32.add(i32.mul(row, i32.add(queryLen, first)), first);
  return {
    address: f.let(i32.add(table, i32.shl(element, 2))),
    queryBytes: i32.const(4),
    keyBytes: i32.const(-4),
    isPacked: true,
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
  const { queryLen } = sources.lengths;
  const registers = matmulRegisters(f, features);
  const tiles = f.let(i32.divU(i32.add(queryLen, tile.queries - 1), tile.queries));
  emitWithSlot(f, { slots, scratch: sources.scratch, isShared: features.sharedMemory }, (slot) => {
    const state = softmaxState(slot, tile.queries);
    const packedQuery = f.let(i32.add(slot, tile.queries * 16));
    const scores = f.let(i32.add(packedQuery, shape.headDim * tile.queries * 4));
    const output = f.let(i32.add(scores, tile.keys * tile.queries * 4));
    const stage = f.let(i32.add(slot, unitFloats(shape, tile) * 4));
    f.for(begin, end, 1, (unit) => {
      const head = f.let(i32.divU(unit, tiles)); // of all heads of the batch
      const firstQuery = f.let(i32.mul(i32.sub(unit, i32.mul(head, tiles)), tile.queries));
      const batchRow = f.let(i32.divU(head, shape.numHeads));
      const ownHead = f.let(i32.sub(head, i32.mul(batchRow, shape.numHeads)));
      const kvHead = f.let(i32.divU(ownHead, shape.numHeads / shape.numKvHeads));
      const numQueries = minimum(f, i32.sub(queryLen, firstQuery), tile.queries);
      const firstRow = f.let(i32.add(i32.mul(head, queryLen), firstQuery));
      emitPackTransposed(f, {
        source: i32.add(sources.query, i32.mul(firstRow, shape.headDim * 4)),
        target: packedQuery,
        numRows: numQueries,
        columns: shape.headDim,
        width: tile.queries,
        scale: plan.params.scale,
      });
      const keys = sources.keys(batchRow, kvHead, stage);
      const rules = sources.rules(batchRow, ownHead, keys);
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
      const visited = sources.tiles && f.let(i32.const(0));
      emitUnit(f, work, visited);
      if (sources.tiles !== undefined && visited !== undefined) {
        f.store("i32", i32.add(sources.tiles, i32.shl(unit, 2)), visited);
      }
      emitFinish(f, work, { sources, firstRow });
    });
  });
}

/** Emits one tile of queries against all of its keys; counts the tiles of keys in `visited`. */
function emitUnit(f: FunctionBuilder, unit: ForwardUnit, visited: Address | undefined): void {
  const { plan, rules, state, output } = unit;
  const { tile, shape } = plan;
  emitSoftmaxStart(f, state, { width: tile.queries, sink: rules.sink });
  f.fillMemory(output, 0, tile.queries * shape.valueDim * 4);
  emitKeyTiles(f, unit, (range, isWhole) => {
    if (visited !== undefined) f.increase(visited, 1);
    emitTile(f, unit, { ...range, address: unit.scores, width: tile.queries }, isWhole);
  });
}

/** Emits a loop over the tiles of keys that a tile of queries sees; `isWhole` says that the mask hides nothing of it. */
export function emitKeyTiles(
  f: FunctionBuilder,
  unit: Pick<ForwardUnit, "plan" | "keys" | "rules" | "firstQuery" | "numQueries">,
  body: (range: TileRange, isWhole: Address | undefined) => void,
): void {
  const { plan, rules, keys, firstQuery, numQueries } = unit;
  const { tile } = plan;
  const { offset, numKeys: allKeys } = keys;
  const firstPosition = f.let(i32.add(firstQuery, offset));
  const lastPosition = f.let(i32.sub(i32.add(firstPosition, numQueries), 1));
  const { from, to } = emitKeyRange(f, rules.mask, { firstPosition, lastPosition, numKeys: allKeys });
  f.set(from, i32.mul(i32.divU(from, tile.keys), tile.keys));
  f.for(from, to, tile.keys, (firstKey) => {
    const numKeys = minimum(f, i32.sub(allKeys, firstKey), tile.keys);
    const range: TileRange = { numKeys, numQueries, firstKey, firstQuery, offset };
    if (rules.mask === undefined) {
      body(range, undefined);
      return;
    }
    const { any, all } = emitTileState(f, rules.mask, range);
    const isWhole = f.let(all);
    f.if(any, () => body(range, isWhole));
  });
}

function emitTile(
  f: FunctionBuilder,
  unit: ForwardUnit,
  tile: ScoreTile,
  isWhole: Address | undefined,
): void {
  const { plan, registers, keys, state, output, numQueries } = unit;
  const { shape, features } = plan;
  const rows = keys.rowsAt(tile.firstKey, tile.numKeys);
  emitScores(f, unit, tile, { key: rows.key, isWhole });
  emitSoftmaxStep(f, tile, { state, features });
  emitRescale(f, unit);
  emitTileMatmul(f, registers, {
    a: { address: tile.address, rowBytes: 4, columnBytes: tile.width * 4 },
    b: { address: rows.value, rowBytes: keys.valueRowBytes },
    c: { address: output, rowBytes: shape.valueDim * 4 },
    rows: numQueries,
    depth: tile.numKeys,
    columns: shape.valueDim,
    accumulates: true,
  });
}

/** Emits the scores of a tile: scaled products, soft cap, bias, mask. The backward pass also wants the cap's slopes. */
export function emitScores(
  f: FunctionBuilder,
  unit: Pick<ForwardUnit, "plan" | "registers" | "rules" | "packedQuery">,
  tile: ScoreTile,
  at: {
    /** The tile's first key. */
    readonly key: Address;
    readonly isWhole: Address | undefined;
    readonly slopes?: Address | undefined;
  },
): void {
  const { key, isWhole, slopes } = at;
  const { plan, registers, rules, packedQuery } = unit;
  const { params, shape, features } = plan;
  emitTileMatmul(f, registers, {
    a: { address: key, rowBytes: shape.headDim * 4, columnBytes: 4 },
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
  for (const bias of rules.biases) emitBias(f, tile, bias);
  const { mask } = rules;
  if (mask !== undefined && isWhole !== undefined) f.if(i32.eqz(isWhole), () => emitMask(f, mask, tile));
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
