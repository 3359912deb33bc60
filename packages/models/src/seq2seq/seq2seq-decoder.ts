import {
  appendKv,
  cachedAttention,
  createKvCache,
  crossAttention,
  type KvCache,
  reorderSlots,
} from "@heddle/attention";
import { t5Bucket } from "@heddle/positional-encodings";
import {
  compile,
  type Device,
  disposeTree,
  HeddleError,
  invariant,
  scope,
  type Tensor,
  take,
  tensor,
  writeInto,
  zeros,
} from "@heddle/tensor";
import type { ModelParts } from "../architecture.js";
import { type Attend, asHeads } from "../blocks/attend.js";
import {
  checkReady,
  type DecoderBatch,
  isReordering,
  piecesOf,
  powerOfTwo,
} from "../decoder/decoder-batch.js";
import { cacheByteLength } from "../decoder/decoder-cache.js";
import type { Decoder } from "../decoder/decoder-interface.js";
import { readRows, readStates } from "../decoder/read-outputs.js";
import { type ReadOutputs, runPieces, uploadFilled } from "../decoder/run-pieces.js";
import type { Seq2SeqConfig } from "./config.js";
import { type CrossAttend, crossHeads } from "./cross-layer.js";
import { type SourceInputs, seq2seqUnembed, sourceHidden, targetHidden } from "./seq2seq.js";
import type { Seq2SeqWeights } from "./weights.js";

export interface Seq2SeqDecoderOptions {
  /** What is listened to; slots are shared out among its rows in order: with 6 slots and 2 rows, slots 0 to 2 hear row 0. */
  readonly source: SourceInputs;
  /** Tokens of each row of the source, which stand before its padding. Default: all places. */
  readonly sourceLengths?: readonly number[];
  /** Sequences that can be under way at the same time, a multiple of the source's rows. Default: one a row. */
  readonly numSlots?: number;
  /** Longest sequence, in tokens. Default: the decoder's, at most 1024. */
  readonly maxSeqLen?: number;
  /** Most rows that one run takes. Default 64. */
  readonly maxRows?: number;
}

/** A decoder that listens to a source. */
export interface Seq2SeqDecoder extends Decoder {
  /** Makes slot i continue what slot `sources[i]` holds, for all slots at once. */
  reorderSlots(sources: Int32Array): void;
  /**
   * Listens to another source, whose states take the place of those before; sequences begin again at position 0. Plans are kept.
   *
   * @param lengths  tokens of each row, as `sourceLengths`
   * @throws HeddleError "shape" for a source with other extents than the first
   */
  listenTo(source: SourceInputs, lengths?: readonly number[]): void;
}

interface StepInputs {
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly slots: Tensor;
  readonly outputs: Tensor;
}

/** What steps read and write besides their inputs. */
interface Memory {
  /** Of the decoder's own tokens, one slot a sequence. */
  readonly own: KvCache;
  /** Of the encoder's states, one slot a source row; written once. */
  readonly cross: KvCache;
  /** Source row of each slot, and its number of states, i32 [numSlots]. */
  readonly sourceOf: Tensor;
  readonly lengthOf: Tensor;
  /** Bias by distance to the past, [H, maxSeqLen], where positions are buckets. */
  readonly distanceBias: Tensor | undefined;
}

/**
 * Runs the encoder once and makes a decoder that listens to it: keys and values of the source are kept, and those of the tokens so
 * far. Steps are compiled.
 *
 * @returns a decoder whose slots begin at position 0 with the start token
 * @throws HeddleError "config" for sizes that do not fit the source or the model
 */
export function createSeq2SeqDecoder(
  model: ModelParts<Seq2SeqConfig, Seq2SeqWeights>,
  options: Seq2SeqDecoderOptions,
): Seq2SeqDecoder {
  const { config, weights, device } = model;
  const numSources = options.source.source.shape[0] ?? 0;
  const {
    numSlots = numSources,
    maxSeqLen = Math.min(config.decoder.maxSeqLen, 1024),
    maxRows = 64,
  } = options;
  checkSizes(config, { numSlots, numSources, maxSeqLen });
  const memory = makeMemory(model, options, { numSlots, maxSeqLen });
  const sourceShape = options.source.source.shape;
  const run = compile((memory: Memory, inputs: StepInputs) => {
    const hidden = stepHidden(config, { weights, memory }, inputs);
    return { hidden, logits: seq2seqUnembed(config, weights, hidden) };
  });
  const state = { isStepping: false, isDisposed: false };
  const limits = { numSlots, maxSeqLen, vocabSize: config.vocabSize };
  const eachPiece = <Output>(batch: DecoderBatch, read: ReadOutputs<Output>): Promise<Output[]> =>
    runPieces(
      state,
      {
        batch,
        limits,
        pieces: () => piecesOf(batch, maxRows),
        upload: ({ batch: part, wanted }) => ({ inputs: stepInputs(device, part, numSlots), wanted }),
      },
      (inputs, wanted) => {
        const found = run(memory, inputs);
        return read(found, wanted.length).finally(() => disposeTree(found));
      },
    );
  return {
    ...limits,
    cacheBytes: cacheByteLength(memory.own) + cacheByteLength(memory.cross),
    step: (batch) => eachPiece(batch, ({ logits }, count) => readRows(logits, count)),
    states: (batch) => eachPiece(batch, readStates),
    reorderSlots(sources) {
      checkReady(state);
      if (isReordering(sources, numSlots)) reorderSlots(memory.own, sources);
    },
    listenTo(source, lengths) {
      checkReady(state);
      checkSource(source.source.shape, sourceShape);
      using states = encode(model, source);
      keepStates(model, memory, { states, lengths });
    },
    dispose() {
      if (state.isDisposed) return;
      state.isDisposed = true;
      run.dispose();
      disposeTree(memory);
    },
  };
}

/** Creates what steps read and write, with the source's states in it. */
function makeMemory(
  model: ModelParts<Seq2SeqConfig, Seq2SeqWeights>,
  { source, sourceLengths }: Seq2SeqDecoderOptions,
  { numSlots, maxSeqLen }: { readonly numSlots: number; readonly maxSeqLen: number },
): Memory {
  const { config, weights, device } = model;
  const { numLayers, numHeads: numKvHeads, headDim } = config.decoder;
  const sizes = { numLayers, numKvHeads, headDim };
  return scope(device, () => {
    const states = encode(model, source);
    const [numSources = 0, numStates = 0] = states.shape;
    const memory = {
      own: createKvCache(device, { ...sizes, numSlots, maxSeqLen }),
      cross: createKvCache(device, { ...sizes, numSlots: numSources, maxSeqLen: numStates }),
      sourceOf: tensor(
        device,
        Int32Array.from({ length: numSlots }, (_, slot) => Math.floor((slot * numSources) / numSlots)),
      ),
      lengthOf: zeros(device, [numSlots], { dtype: "i32" }),
      distanceBias: distanceBias(config, weights, maxSeqLen),
    };
    keepStates(model, memory, { states, lengths: sourceLengths });
    return memory;
  });
}

/** The encoder's states of a source, [B, S, E]. */
function encode(
  { config, weights, device }: ModelParts<Seq2SeqConfig, Seq2SeqWeights>,
  source: SourceInputs,
): Tensor {
  return scope(device, () => sourceHidden(config, weights, { ...source, keepLayers: false }).last);
}

/** Writes keys and values of the encoder's states, and how many of them each slot may see. */
function keepStates(
  { config: { decoder }, weights, device }: ModelParts<Seq2SeqConfig, Seq2SeqWeights>,
  { cross, lengthOf }: Memory,
  { states, lengths }: { readonly states: Tensor; readonly lengths: readonly number[] | undefined },
): void {
  const [numSources = 0, numStates = 0] = states.shape;
  const [numSlots = 0] = lengthOf.shape;
  const perSource = numSlots / numSources;
  scope(device, () => {
    const rows = {
      slots: tensor(
        device,
        Int32Array.from({ length: numSources }, (_, row) => row),
      ),
      starts: tensor(device, new Int32Array(numSources)),
    };
    for (const [layer, { cross: projections }] of weights.decoder.layers.entries()) {
      const kept = cross.layers[layer];
      invariant(kept, `the cache has layer ${layer}`);
      const { key, value } = crossHeads(decoder, projections, states);
      appendKv(kept, key, value, rows);
    }
    const seen = Int32Array.from(
      { length: numSlots },
      (_, slot) => lengths?.[Math.floor(slot / perSource)] ?? numStates,
    );
    writeInto(lengthOf, tensor(device, seen));
  });
}

/** The bias of each distance to the past, [H, maxSeqLen]. */
function distanceBias(
  { positions }: Seq2SeqConfig,
  { decoder }: Seq2SeqWeights,
  maxSeqLen: number,
): Tensor | undefined {
  const table = decoder.distanceBias;
  if (positions.kind !== "buckets" || table === undefined) return undefined;
  const { numBuckets, maxDistance } = positions;
  const buckets = Int32Array.from({ length: maxSeqLen }, (_, distance) =>
    t5Bucket(-distance, { numBuckets, maxDistance, isBidirectional: false }),
  );
  return scope(table.device, () => take(table, tensor(table.device, buckets)).transpose([1, 0]));
}

/** Each row is a sequence of one token, as in a decoder's step. [O, E] */
function stepHidden(
  config: Seq2SeqConfig,
  { weights, memory }: { readonly weights: Seq2SeqWeights; readonly memory: Memory },
  { tokens, positions, slots, outputs }: StepInputs,
): Tensor {
  const rows = { slots, starts: positions };
  const attend: Attend = (layer, inputs) => {
    const { query_BHTD, key_BGTD, value_BGTD, scale } = asHeads(inputs);
    const kept = memory.own.layers[layer];
    invariant(kept, `the cache has layer ${layer}`);
    appendKv(kept, key_BGTD, value_BGTD, rows);
    const { distanceBias: bias } = memory;
    return cachedAttention(query_BHTD, kept, {
      ...rows,
      scale,
      ...(bias === undefined ? {} : { distanceBias: bias }),
    });
  };
  const heard = { slots: take(memory.sourceOf, slots), lengths: take(memory.lengthOf, slots) };
  const crossAttend: CrossAttend = (layer, query, scale) => {
    const kept = memory.cross.layers[layer];
    invariant(kept, `the cache has layer ${layer}`);
    return crossAttention(query, kept, { ...heard, scale });
  };
  const { last } = targetHidden(config, weights, {
    ids: tokens.reshape([-1, 1]),
    positions: positions.reshape([-1, 1]),
    attend,
    crossAttend,
  });
  return take(last.reshape([-1, config.modelDim]), outputs);
}

/** Rows that fill up a plan name a slot outside of the cache: nothing is written for them. */
function stepInputs(device: Device, batch: DecoderBatch, noSlot: number): StepInputs {
  const numRows = powerOfTwo(batch.tokens.length);
  return {
    tokens: uploadFilled(device, batch.tokens, { length: numRows }),
    positions: uploadFilled(device, batch.positions, { length: numRows }),
    slots: uploadFilled(device, batch.slots, { length: numRows, filler: noSlot }),
    outputs: uploadFilled(device, batch.outputs, { length: powerOfTwo(batch.outputs.length) }),
  };
}

function checkSource(shape: readonly number[], first: readonly number[]): void {
  if (shape.length === first.length && shape.every((extent, axis) => extent === first[axis])) return;
  const message = `listenTo: a source must have the extents of the one before; got [${shape}], before [${first}]. Pad it to them, or create another decoder.`;
  throw new HeddleError("shape", message, { shape, first });
}

function checkSizes(
  { decoder, positions }: Seq2SeqConfig,
  { numSlots, numSources, maxSeqLen }: Record<"numSlots" | "numSources" | "maxSeqLen", number>,
): void {
  const isSized = Number.isSafeInteger(numSlots) && numSlots >= 1 && numSlots % numSources === 0;
  if (!isSized || !Number.isSafeInteger(maxSeqLen) || maxSeqLen < 1) {
    const message = `createSeq2SeqDecoder: numSlots must be a multiple of the source's ${numSources} rows and maxSeqLen a whole number >= 1; got numSlots ${numSlots}, maxSeqLen ${maxSeqLen}. Pass others.`;
    throw new HeddleError("config", message, { numSlots, numSources, maxSeqLen });
  }
  if (positions.kind === "learned" && maxSeqLen > decoder.maxSeqLen) {
    const message = `createSeq2SeqDecoder: maxSeqLen must not pass the learned positions; got ${maxSeqLen}, the model has ${decoder.maxSeqLen}. Use at most that.`;
    throw new HeddleError("config", message, { maxSeqLen });
  }
}
