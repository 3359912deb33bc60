import { appendRows } from "@heddle/attention";
import {
  compile,
  type Device,
  disposeTree,
  HeddleError,
  invariant,
  linear,
  scope,
  type Tensor,
  take,
  tensor,
  where,
  writeInto,
  zeros,
} from "@heddle/tensor";
import { checkReady, type DecoderBatch, isReordering, powerOfTwo } from "../decoder/decoder-batch.js";
import type { Decoder } from "../decoder/decoder-interface.js";
import { readRows, readStates } from "../decoder/read-outputs.js";
import { type ReadOutputs, runPieces, type UploadedPiece, uploadFilled } from "../decoder/run-pieces.js";
import type { RecurrentConfig } from "./config.js";
import { layerStateShapes, type RecurrentWeights, recurrentHidden } from "./recurrent.js";

export interface RecurrentDecoderOptions {
  /** Texts that can be under way at the same time. */
  readonly numSlots: number;
  /** Longest piece of a text that one run takes, a power of two. Default 64. */
  readonly maxPiece?: number;
}

/** Rows of texts that one run moves on by as many tokens each. */
interface Piece {
  readonly slots: readonly number[];
  /** Rows of the batch, [R][T]. */
  readonly rows: readonly (readonly number[])[];
}

interface PieceInputs {
  /** [R, T] */
  readonly tokens: Tensor;
  /** [R, T] */
  readonly positions: Tensor;
  /** [R] */
  readonly slots: Tensor;
  /** Tokens whose logits are wanted, counted through [R T], [O]. */
  readonly outputs: Tensor;
}

/** One tensor of state of all slots, [numSlots, 1, 1, size], and what a text begins with, [1, size]. */
interface Store {
  readonly kept: Tensor;
  readonly initial: Tensor;
}

/**
 * Makes a decoder that remembers each text in a state of fixed size: `cacheBytes` does not depend on how long texts become.
 *
 * Prompts are fed in pieces of power-of-two lengths, single tokens of several texts together; each such shape is compiled once.
 * @throws HeddleError "config" for sizes that cannot be
 */
export function createRecurrentDecoder(
  model: { readonly config: RecurrentConfig; readonly weights: RecurrentWeights; readonly device: Device },
  { numSlots, maxPiece = 64 }: RecurrentDecoderOptions,
): Decoder & { reorderSlots(sources: Int32Array): void } {
  const { config, device } = model;
  if (!Number.isSafeInteger(numSlots) || numSlots < 1 || !Number.isInteger(Math.log2(maxPiece))) {
    const message = `createRecurrentDecoder: numSlots must be a whole number >= 1 and maxPiece a power of two; got numSlots ${numSlots}, maxPiece ${maxPiece}. Pass others.`;
    throw new HeddleError("config", message, { numSlots, maxPiece });
  }
  const stores = scope(device, () => makeStores(config, device, numSlots));
  const run = compile((kept: typeof stores, inputs: PieceInputs) => pieceStates(model, kept, inputs));
  const state = { isStepping: false, isDisposed: false };
  const limits = { numSlots, maxSeqLen: config.maxSeqLen, vocabSize: config.vocabSize };
  const eachPiece = <Output>(batch: DecoderBatch, read: ReadOutputs<Output>): Promise<Output[]> =>
    runPieces(
      state,
      {
        batch,
        limits,
        pieces: () => piecesOf(batch.slots, maxPiece),
        upload: (piece) => pieceInputs(device, { piece, batch }, numSlots),
      },
      (inputs, wanted) => {
        const found = run(stores, inputs);
        return read(found, wanted.length).finally(() => disposeTree(found));
      },
    );
  return {
    ...limits,
    cacheBytes: stores
      .flatMap((layer) => Object.values(layer))
      .reduce((sum, { kept }) => sum + kept.byteLength, 0),
    step: (batch) => eachPiece(batch, ({ logits }, count) => readRows(logits, count)),
    states: (batch) => eachPiece(batch, readStates),
    reorderSlots(sources) {
      checkReady(state);
      if (!isReordering(sources, numSlots)) return;
      scope(device, () => {
        const order = tensor(device, sources);
        for (const layer of stores)
          for (const { kept } of Object.values(layer)) writeInto(kept, take(kept, order));
      });
    },
    dispose() {
      if (state.isDisposed) return;
      state.isDisposed = true;
      run.dispose();
      disposeTree(stores);
    },
  };
}

function makeStores(
  config: RecurrentConfig,
  device: Device,
  numSlots: number,
): Readonly<Record<string, Store>>[] {
  return Array.from({ length: config.numLayers }, () =>
    Object.fromEntries(
      Object.entries(layerStateShapes(config)).map(([name, { shape, fill }]): [string, Store] => {
        const size = shape.reduce((product, extent) => product * extent, 1);
        const initial = tensor(
          device,
          Array.from({ length: size }, (_, at) => fill(at)),
          {
            shape: [1, size],
            dtype: device.defaultFloat,
          },
        );
        return [
          name,
          { kept: zeros(device, [numSlots, 1, 1, size], { dtype: device.defaultFloat }), initial },
        ];
      }),
    ),
  );
}

/**
 * Cuts the rows of a batch into runs: each text's tokens into powers of two, longest first, and the single tokens that are left
 * together.
 */
export function piecesOf(slots: ArrayLike<number>, maxPiece: number): readonly Piece[] {
  const rowsOfSlot = new Map<number, number[]>();
  for (let row = 0; row < slots.length; row++) {
    const slot = slots[row] ?? -1;
    const rows = rowsOfSlot.get(slot);
    if (rows === undefined) rowsOfSlot.set(slot, [row]);
    else rows.push(row);
  }
  const pieces: Piece[] = [];
  const singles: { slot: number; row: number }[] = [];
  for (const [slot, rows] of rowsOfSlot) {
    let from = 0;
    while (rows.length - from > 1) {
      const length = Math.min(maxPiece, 2 ** Math.floor(Math.log2(rows.length - from)));
      pieces.push({ slots: [slot], rows: [rows.slice(from, from + length)] });
      from += length;
    }
    const last = rows[from];
    if (last !== undefined) singles.push({ slot, row: last });
  }
  if (singles.length > 0)
    pieces.push({ slots: singles.map(({ slot }) => slot), rows: singles.map(({ row }) => [row]) });
  return pieces;
}

/** Uploads a piece; `wanted` are the places of its outputs among those of the batch. */
function pieceInputs(
  device: Device,
  { piece, batch }: { readonly piece: Piece; readonly batch: DecoderBatch },
  noSlot: number,
): UploadedPiece<PieceInputs> {
  const flat = piece.rows.flat();
  const length = piece.rows[0]?.length ?? 1;
  const numRows = powerOfTwo(piece.rows.length);
  const place = new Map(flat.map((row, at) => [row, at]));
  const wanted = [...batch.outputs.entries()].filter(([, row]) => place.has(row));
  // One plan for each number of rows and of outputs, both rounded up; filler rows name a slot that is not there.
  const perToken = (values: Int32Array) =>
    uploadFilled(
      device,
      flat.map((row) => values[row] ?? 0),
      { length: numRows * length, shape: [numRows, length] },
    );
  const inputs: PieceInputs = {
    tokens: perToken(batch.tokens),
    positions: perToken(batch.positions),
    slots: uploadFilled(device, piece.slots, { length: numRows, filler: noSlot }),
    outputs: uploadFilled(
      device,
      wanted.map(([, row]) => place.get(row) ?? 0),
      { length: powerOfTwo(wanted.length) },
    ),
  };
  return { inputs, wanted: wanted.map(([output]) => output) };
}

/** Takes the states of the rows' slots, moves them on, writes them back; hidden states and logits of the wanted tokens. */
function pieceStates(
  { config, weights }: { readonly config: RecurrentConfig; readonly weights: RecurrentWeights },
  stores: readonly Readonly<Record<string, Store>>[],
  { tokens, positions, slots, outputs }: PieceInputs,
): { readonly hidden: Tensor; readonly logits: Tensor } {
  const [numRows = 1] = tokens.shape;
  const shapes = layerStateShapes(config);
  const isFirst = positions.narrow(1, 0, 1).equal(0); // [R, 1]
  const layers = stores.map((layer) =>
    Object.fromEntries(
      Object.entries(layer).map(([name, { kept, initial }]) => {
        const size = initial.shape[1] ?? 0;
        const before = take(kept.reshape([-1, size]), slots);
        const state = where(isFirst, initial, before);
        return [name, state.reshape([numRows, ...(shapes[name]?.shape ?? [])])];
      }),
    ),
  );
  const { last, state } = recurrentHidden(config, weights, { ids: tokens, positions, state: { layers } });
  for (const [at, layer] of stores.entries()) writeStores(layer, state.layers[at] ?? {}, slots);
  const hidden = take(last.reshape([-1, config.modelDim]), outputs);
  return { hidden, logits: linear(hidden, weights.unembedding ?? weights.embedding) };
}

/** Writes each new state to its slot, two tensors in one launch. */
function writeStores(
  stores: Readonly<Record<string, Store>>,
  states: Readonly<Record<string, Tensor>>,
  slots: Tensor,
): void {
  const rows = { slots, starts: slots.mul(0), placement: "contiguous" } as const;
  const pairs = Object.entries(stores).map(([name, { kept }]) => {
    const state = states[name];
    invariant(state, `the layer gives a state ${name}`);
    return { kept, fresh: state.reshape([state.shape[0] ?? 1, 1, 1, -1]) };
  });
  for (let at = 0; at < pairs.length; at += 2) {
    const [first, second] = pairs.slice(at, at + 2);
    invariant(first, "a layer has stores");
    appendRows({ key: first.kept, value: second?.kept }, { key: first.fresh, value: second?.fresh }, rows);
  }
}
