import {
  assemble,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  type KernelArgument,
  type KernelStep,
  type Local,
  select,
  type Value,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import {
  type FlashBackwardParams,
  flashInputs,
  flashShape,
  type TileSize,
  tileSizeFor,
} from "../flash-params.js";
import {
  declareLengths,
  denseKeys,
  denseRules,
  distanceView,
  emitKeyTiles,
  emitScores,
  type FlashBiasAxes,
  type ForwardPlan,
  flashBiasAxes,
  type KeyView,
  type Lengths,
  lengthArguments,
  planKey,
  type RuleView,
} from "./flash-forward.wasm.js";
import { emitWeight } from "./online-softmax.js";
import { emitPackTransposed, minimum } from "./row-moves.js";
import {
  type BiasView,
  emitBiasGradient,
  emitSharedBiasGradient,
  emitTileRows,
  type ScoreTile,
} from "./score-tile.js";
import { clearSteps, emitWithSlot, scratchSlots } from "./scratch-slot.js";
import { emitTileMatmul, type MatmulRegisters, matmulRegisters } from "./tile-matmul.js";

type Address = Local<"i32">;

/** A stand-in for the log-sum-exp of rows that saw nothing: it turns every weight into 0. */
const unseen = 3e38;

interface BackwardPlan extends ForwardPlan {
  readonly params: FlashBackwardParams;
  readonly bias: FlashBiasAxes;
  /** Query heads that one unit works through: the whole group, or one, with a sum over the group afterwards. */
  readonly headsPerUnit: number;
}

/** Buffers of the launch; `dKey` and `dValue` are per query head where a sum over the group follows. */
interface BackwardBuffers {
  readonly query: Address;
  readonly key: Address;
  readonly value: Address;
  readonly mask: readonly Address[];
  readonly bias: Address | undefined;
  readonly distanceBias: Address | undefined;
  readonly logSumExp: Address;
  readonly delta: Address;
  readonly dOut: Address;
  readonly dQuery: Address;
  readonly dKey: Address;
  readonly dValue: Address;
  readonly dBias: Address | undefined;
  readonly dDistance: Address | undefined;
  readonly scratch: Address;
  readonly lengths: Lengths;
}

/**
 * WebAssembly kernel of the gradient of `flashAttention` for f32: weights are computed again tile by tile from the stored
 * log-sum-exp.
 *
 * A unit is one head (or one group of heads), so that no two threads add to one gradient.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 2. Twin: `reference` of `flashAttentionBackward`.
 * Differs from the paper: queries are the outer loop, because one thread owns a head.
 */
export const flashBackwardWasm: WasmKernelFactory<FlashBackwardParams> = (call, features) => {
  if (call.inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32")) return undefined;
  const plan = backwardPlan(call, features);
  const { shape, params, slots, headsPerUnit } = plan;
  const { batch, numHeads, numKvHeads, keyLen, headDim, valueDim } = shape;
  const numInputs = flashInputs({ ...params, hasSinks: false }).count + 3;
  const biasOutputs = [params.wantsBias, params.wantsDistanceBias === true].filter(Boolean).length;
  const isSplit = headsPerUnit < numHeads / numKvHeads;
  const partRows = isSplit ? batch * numHeads * keyLen : 0;
  const dKeyAt = slots.totalBytes;
  const dValueAt = dKeyAt + Math.ceil((partRows * headDim * 4) / 64) * 64;
  const buffer = (index: number): KernelArgument => ({ kind: "buffer", index });
  const dKeyArg = isSplit ? ({ kind: "scratch", byteOffset: dKeyAt } as const) : buffer(numInputs + 1);
  const dValueArg = isSplit ? ({ kind: "scratch", byteOffset: dValueAt } as const) : buffer(numInputs + 2);
  const inputs = Array.from({ length: numInputs + 1 }, (_, index) => buffer(index));
  const biasOut = Array.from({ length: biasOutputs }, (_, i) => buffer(numInputs + 3 + i));
  const main: KernelStep = {
    module: {
      key: `flash-backward ${planKey(plan)} heads ${headsPerUnit} bias ${JSON.stringify(plan.bias)}`,
      emit: () => assemble({ sharedMemory: features.sharedMemory }, (f) => emitBackward(f, plan)),
    },
    args: [
      ...inputs,
      dKeyArg,
      dValueArg,
      ...biasOut,
      { kind: "scratch", byteOffset: 0 },
      ...lengthArguments(shape),
    ],
    units: (batch * numHeads) / headsPerUnit,
    grain: Math.max(
      1,
      Math.ceil(100_000 / (headsPerUnit * shape.queryLen * keyLen * (3 * headDim + 2 * valueDim))),
    ),
  };
  const sums = [
    { width: headDim, from: dKeyArg, to: buffer(numInputs + 1) },
    { width: valueDim, from: dValueArg, to: buffer(numInputs + 2) },
  ].map((sum) => groupSumStep(plan, sum));
  return {
    steps: [...clearSteps(slots, features), main, ...(isSplit ? sums : [])],
    scratchBytes: dValueAt + partRows * valueDim * 4,
  };
};

function backwardPlan(call: Parameters<typeof flashBackwardWasm>[0], features: CpuFeatures): BackwardPlan {
  const shape = flashShape(call.inputs);
  const tile: TileSize = tileSizeFor(shape.queryLen, call.params.mask);
  const tiles = call.params.softcap === undefined ? 2 : 3;
  const floats = tile.queries * (2 + shape.headDim + shape.valueDim + tiles * tile.keys);
  const group = shape.numHeads / shape.numKvHeads;
  // Not by the number of threads: the same call gives the same bits everywhere.
  const hasManyGroups = shape.batch * shape.numKvHeads >= 8;
  return {
    shape,
    params: call.params,
    tile,
    features,
    slots: scratchSlots(features, floats * 4),
    bias: flashBiasAxes(call.params, call.inputs),
    headsPerUnit: hasManyGroups ? group : 1,
  };
}

function declareBuffers(f: FunctionBuilder, { params }: BackwardPlan): BackwardBuffers {
  const next = () => f.param("i32");
  const optional = (isThere: boolean) => (isThere ? next() : undefined);
  return {
    query: next(),
    key: next(),
    value: next(),
    mask: Array.from({ length: params.numMaskInputs }, next),
    bias: optional(params.hasBias),
    distanceBias: optional(params.hasDistanceBias === true),
    logSumExp: next(),
    delta: next(),
    dOut: next(),
    dQuery: next(),
    dKey: next(),
    dValue: next(),
    dBias: optional(params.wantsBias),
    dDistance: optional(params.wantsDistanceBias === true),
    scratch: next(),
    lengths: declareLengths(f),
  };
}

/** What the tiles of one head share. */
interface BackwardHead {
  readonly plan: BackwardPlan;
  readonly registers: MatmulRegisters;
  readonly keys: KeyView;
  readonly rules: RuleView;
  readonly lengths: Lengths;
  /** Addresses of the head's rows. */
  readonly query: Address;
  readonly dOut: Address;
  readonly dQuery: Address;
  readonly dKey: Address;
  readonly dValue: Address;
  readonly dBias: BiasView | undefined;
  readonly dDistance: { readonly row: Address; readonly view: BiasView } | undefined;
  readonly logSumExp: Address;
  readonly delta: Address;
  /** Private memory: a packed query and output gradient, tiles of weights and of their gradients, row statistics. */
  readonly packedQuery: Address;
  readonly packedDOut: Address;
  readonly weights: Address;
  readonly dScores: Address;
  readonly slopes: Address | undefined;
  readonly rowLogSumExp: Address;
  readonly rowDelta: Address;
}

function emitBackward(f: FunctionBuilder, plan: BackwardPlan): void {
  const { shape, features, slots, headsPerUnit } = plan;
  const { numHeads, numKvHeads, headDim, valueDim } = shape;
  const buffers = declareBuffers(f, plan);
  const { lengths } = buffers;
  const [begin, end] = [f.param("i32"), f.param("i32")];
  const registers = matmulRegisters(f, features);
  const group = numHeads / numKvHeads;
  emitWithSlot(f, { slots, scratch: buffers.scratch, isShared: features.sharedMemory }, (slot) => {
    const memory = slotMemory(f, plan, slot);
    f.for(begin, end, 1, (unit) => {
      const firstHead = f.let(i32.mul(unit, headsPerUnit)); // of all heads of the batch
      const batchRow = f.let(i32.divU(firstHead, numHeads));
      const kvHead = f.let(i32.divU(i32.sub(firstHead, i32.mul(batchRow, numHeads)), group));
      const keyBytes = f.let(i32.mul(lengths.keyLen, headDim * 4));
      const valueBytes = f.let(i32.mul(lengths.keyLen, valueDim * 4));
      const dKey = f.let(i32.add(buffers.dKey, i32.mul(unit, keyBytes)));
      const dValue = f.let(i32.add(buffers.dValue, i32.mul(unit, valueBytes)));
      f.fillMemory(dKey, 0, keyBytes);
      f.fillMemory(dValue, 0, valueBytes);
      const keys = denseKeys(f, shape, { key: buffers.key, value: buffers.value, batchRow, kvHead, lengths });
      f.for(firstHead, i32.add(firstHead, headsPerUnit), 1, (head) => {
        emitHead(f, {
          ...headView(f, plan, { buffers, head, batchRow }),
          ...memory,
          plan,
          registers,
          keys,
          lengths,
          dKey,
          dValue,
        });
      });
    });
  });
}

/** Parts of a thread's private memory. */
function slotMemory(f: FunctionBuilder, { shape, tile, params }: BackwardPlan, slot: Address) {
  const floatsAt = (address: Value<"i32">, rows: number) => f.let(i32.add(address, rows * tile.queries * 4));
  const packedDOut = floatsAt(slot, shape.headDim);
  const weights = floatsAt(packedDOut, shape.valueDim);
  const dScores = floatsAt(weights, tile.keys);
  const rowLogSumExp = floatsAt(dScores, tile.keys);
  const rowDelta = floatsAt(rowLogSumExp, 1);
  const slopes = params.softcap === undefined ? undefined : floatsAt(rowDelta, 1);
  return { packedQuery: slot, packedDOut, weights, dScores, rowLogSumExp, rowDelta, slopes };
}

function headView(
  f: FunctionBuilder,
  plan: BackwardPlan,
  { buffers, head, batchRow }: { buffers: BackwardBuffers; head: Address; batchRow: Address },
) {
  const { numHeads, headDim, valueDim } = plan.shape;
  const { lengths } = buffers;
  const ownHead = f.let(i32.sub(head, i32.mul(batchRow, numHeads)));
  const rows = f.let(i32.mul(head, lengths.queryLen));
  const rowsOf = (address: Address, width: number) => f.let(i32.add(address, i32.mul(rows, width * 4)));
  const { mask, bias, distanceBias, dBias, dDistance } = buffers;
  const biasBytes = dBias && f.let(i32.shl(lengths.keyLen, 2));
  const at = { batchRow, head: ownHead, lengths, bias: plan.bias };
  return {
    rules: denseRules(f, plan, { mask, bias, distanceBias, sinks: undefined }, at),
    query: rowsOf(buffers.query, headDim),
    dOut: rowsOf(buffers.dOut, valueDim),
    dQuery: rowsOf(buffers.dQuery, headDim),
    logSumExp: rowsOf(buffers.logSumExp, 1),
    delta: rowsOf(buffers.delta, 1),
    dBias: dBias &&
      biasBytes && {
        address: f.let(i32.add(dBias, i32.mul(rows, biasBytes))),
        queryBytes: biasBytes,
        keyBytes: i32.const(4),
      },
    dDistance: dDistance && {
      row: f.let(i32.add(dDistance, i32.shl(i32.mul(head, distancesOf(lengths)), 2))),
      view: distanceView(f, dDistance, { row: head, lengths }),
    },
  };
}

/** T + S - 1 */
const distancesOf = ({ queryLen, keyLen }: Lengths): Value<"i32"> => i32.sub(i32.add(queryLen, keyLen), 1);

/** Emits the loop over the query tiles of a head. */
function emitHead(f: FunctionBuilder, head: BackwardHead): void {
  const { plan, lengths } = head;
  const { shape, tile } = plan;
  const { queryLen, keyLen } = lengths;
  f.fillMemory(head.dQuery, 0, i32.mul(queryLen, shape.headDim * 4));
  if (head.dBias !== undefined) f.fillMemory(head.dBias.address, 0, i32.mul(i32.mul(queryLen, keyLen), 4));
  if (head.dDistance !== undefined) f.fillMemory(head.dDistance.row, 0, i32.shl(distancesOf(lengths), 2));
  f.for(0, queryLen, tile.queries, (firstQuery) => {
    const numQueries = minimum(f, i32.sub(queryLen, firstQuery), tile.queries);
    emitQueryTile(f, head, { firstQuery, numQueries });
    emitKeyTiles(f, { ...head, firstQuery, numQueries }, (range, isWhole) =>
      emitTile(f, head, { ...range, address: head.weights, width: tile.queries }, isWhole),
    );
  });
}

/** Emits the packing of a tile of queries and output gradients, and of its row statistics. */
function emitQueryTile(
  f: FunctionBuilder,
  head: BackwardHead,
  { firstQuery, numQueries }: { firstQuery: Address; numQueries: Address },
): void {
  const { shape, tile, params } = head.plan;
  const rows = { numRows: numQueries, width: tile.queries };
  const source = (address: Address, columns: number) => i32.add(address, i32.mul(firstQuery, columns * 4));
  const { headDim, valueDim } = shape;
  emitPackTransposed(f, {
    ...rows,
    source: source(head.query, headDim),
    target: head.packedQuery,
    columns: headDim,
    scale: params.scale,
  });
  emitPackTransposed(f, {
    ...rows,
    source: source(head.dOut, valueDim),
    target: head.packedDOut,
    columns: valueDim,
    scale: 1,
  });
  f.fillMemory(head.rowDelta, 0, tile.queries * 4);
  f.copyMemory(head.rowDelta, source(head.delta, 1), i32.shl(numQueries, 2));
  const from = f.let(source(head.logSumExp, 1));
  const to = f.let(head.rowLogSumExp);
  f.for(0, tile.queries, 1, (column) => {
    f.store("f32", to, unseen);
    f.if(i32.ltS(column, numQueries), () => {
      const value = f.let(f32.load(from));
      f.store("f32", to, select(f32.eq(value, Number.NEGATIVE_INFINITY), f32.const(unseen), value));
    });
    f.increase(from, 4);
    f.increase(to, 4);
  });
}

/** Emits one tile: five products. */
function emitTile(
  f: FunctionBuilder,
  head: BackwardHead,
  tile: ScoreTile,
  isWhole: Address | undefined,
): void {
  const { plan, registers, keys, slopes } = head;
  const { headDim, valueDim } = plan.shape;
  const stored = keys.rowsAt(tile.firstKey, tile.numKeys);
  emitScores(f, head, tile, { key: stored.key, isWhole, slopes });
  emitWeights(f, head, tile);
  const rowOf = (address: Value<"i32">, index: Address, columns: number) => ({
    address: i32.add(address, i32.mul(index, columns * 4)),
    rowBytes: columns * 4,
  });
  const columnBytes = 4;
  const width = tile.width * 4;
  emitTileMatmul(f, registers, {
    a: { address: stored.value, rowBytes: valueDim * 4, columnBytes }, // dP^T = V dO^T
    b: { address: head.packedDOut, rowBytes: width },
    c: { address: head.dScores, rowBytes: width },
    rows: tile.numKeys,
    depth: f.let(i32.const(valueDim)),
    columns: tile.width,
    accumulates: false,
  });
  emitTileMatmul(f, registers, {
    a: { address: head.weights, rowBytes: width, columnBytes }, // dV += P^T dO
    b: rowOf(head.dOut, tile.firstQuery, valueDim),
    c: rowOf(head.dValue, tile.firstKey, valueDim),
    rows: tile.numKeys,
    depth: tile.numQueries,
    columns: valueDim,
    accumulates: true,
  });
  emitScoreGradient(f, head, tile);
  emitTileMatmul(f, registers, {
    a: { address: head.dScores, rowBytes: width, columnBytes }, // dK += dS^T Q
    b: rowOf(head.query, tile.firstQuery, headDim),
    c: rowOf(head.dKey, tile.firstKey, headDim),
    rows: tile.numKeys,
    depth: tile.numQueries,
    columns: headDim,
    accumulates: true,
  });
  emitTileMatmul(f, registers, {
    a: { address: head.dScores, rowBytes: 4, columnBytes: width }, // dQ += dS K
    b: { address: stored.key, rowBytes: headDim * 4 },
    c: rowOf(head.dQuery, tile.firstQuery, headDim),
    rows: tile.numQueries,
    depth: tile.numKeys,
    columns: headDim,
    accumulates: true,
  });
}

/** Emits a loop over pairs of vectors of a tile; `body` gets, for each of both, its address and offset, and its column's. */
function emitTilePairs(
  f: FunctionBuilder,
  tile: ScoreTile,
  body: (row: Address, column: Value<"i32">, offset: number) => Value<"v128">,
): void {
  emitTileRows(f, tile, (row) => {
    const at = f.let(row);
    f.for(0, tile.width * 4, 32, (column) => {
      const results = [0, 16].map((offset) => f.let(body(at, column, offset)));
      for (const [i, result] of results.entries()) f.store("v128", at, result, i * 16);
      f.increase(at, 32);
    });
  });
}

/** Emits P = exp(S - lse) in place. */
function emitWeights(f: FunctionBuilder, { plan, rowLogSumExp }: BackwardHead, tile: ScoreTile): void {
  emitTilePairs(f, tile, (at, column, offset) =>
    emitWeight(
      f,
      f32x4.sub(v128.load(at, offset), v128.load(i32.add(rowLogSumExp, column), offset)),
      plan.features,
    ),
  );
}

/** Emits dS = scale P (dP - delta), times the slopes of the soft cap, in place of dP; biases get their part on the way. */
function emitScoreGradient(f: FunctionBuilder, head: BackwardHead, tile: ScoreTile): void {
  const { plan, rowDelta, dBias, dDistance, slopes } = head;
  const { scale } = plan.params;
  const gradients: ScoreTile = { ...tile, address: head.dScores };
  const toWeights = f.let(i32.sub(head.weights, head.dScores));
  const slopeOf = (at: Address, offset: number) => {
    if (slopes === undefined) return f32x4.splat(scale);
    return f32x4.mul(v128.load(i32.add(at, i32.sub(slopes, head.dScores)), offset), scale);
  };
  const raw = (at: Address, column: Value<"i32">, offset: number) =>
    f32x4.mul(
      v128.load(i32.add(at, toWeights), offset),
      f32x4.sub(v128.load(at, offset), v128.load(i32.add(rowDelta, column), offset)),
    );
  if (dBias === undefined && dDistance === undefined) {
    emitTilePairs(f, gradients, (at, column, offset) =>
      f32x4.mul(raw(at, column, offset), slopeOf(at, offset)),
    );
    return;
  }
  emitTilePairs(f, gradients, raw);
  if (dBias !== undefined) emitBiasGradient(f, gradients, dBias);
  if (dDistance !== undefined) emitSharedBiasGradient(f, gradients, dDistance.view);
  emitTilePairs(f, gradients, (at, _, offset) => f32x4.mul(v128.load(at, offset), slopeOf(at, offset)));
}

/** The sum of the gradients of a group's query heads: [B, G, H / G, S, width] -> [B, G, S, width]. */
function groupSumStep(
  { shape, features }: BackwardPlan,
  { width, from, to }: { width: number; from: KernelArgument; to: KernelArgument },
): KernelStep {
  const { batch, numHeads, numKvHeads, keyLen } = shape;
  const group = numHeads / numKvHeads;
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const next = () => f.param("i32");
      const [parts, sums, length, begin, end] = [next(), next(), next(), next(), next()];
      const headBytes = f.let(i32.mul(length, width * 4));
      f.for(begin, end, 1, (row) => {
        const kvHead = f.let(i32.divU(row, length));
        const offset = i32.mul(i32.sub(row, i32.mul(kvHead, length)), width * 4);
        const source = f.let(i32.add(i32.add(parts, i32.mul(kvHead, i32.mul(headBytes, group))), offset));
        const target = f.let(i32.add(sums, i32.mul(row, width * 4)));
        f.for(0, width, 1, () => {
          const sum = f.let(f32.load(source));
          const at = f.let(source);
          f.for(1, group, 1, () => {
            f.increase(at, headBytes);
            f.set(sum, f32.add(sum, f32.load(at)));
          });
          f.store("f32", target, sum);
          f.increase(source, 4);
          f.increase(target, 4);
        });
      });
    });
  return {
    module: { key: `flash-group-sum ${group} ${width} shared ${features.sharedMemory}`, emit },
    args: [from, to, { kind: "i32", value: keyLen }],
    units: batch * numKvHeads * keyLen,
    grain: 256,
  };
}
