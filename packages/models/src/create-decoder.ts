import { createKvCache, type KvCache } from "@heddle/attention";
import {
  compile,
  type Device,
  disposeTree,
  type FloatDType,
  HeddleError,
  invariant,
  isFloat,
  type Tensor,
  take,
  tensor,
} from "@heddle/tensor";
import { cacheAttend } from "./attend.js";
import type { DecoderConfig } from "./config.js";
import { decoderHidden, unembed } from "./decoder.js";
import type { DecoderWeights } from "./weights.js";

export interface DecoderOptions {
  /** Sequences that can be under way at the same time. */
  readonly numSlots: number;
  /** Longest sequence, in tokens. Default: the model's. */
  readonly maxSeqLen?: number;
  /** Most rows that one run of the model takes; `step` splits longer batches. Default 64. */
  readonly maxRows?: number;
}

/** Tokens of any number of sequences. Row i is the token at `positions[i]` of the sequence in `slots[i]`. */
export interface DecoderBatch {
  readonly tokens: Int32Array;
  /** Rows of one slot follow each other without a gap: a piece of a prompt, or one new token. */
  readonly positions: Int32Array;
  readonly slots: Int32Array;
  /** Rows whose logits are wanted. */
  readonly outputs: Int32Array;
}

/**
 * A model with a key-value cache, fed tokens in batches of any mixture of sequences.
 *
 * A slot is reused by starting again at position 0. Calls of `step` must not overlap.
 */
export interface Decoder {
  readonly numSlots: number;
  readonly maxSeqLen: number;
  readonly vocabSize: number;
  /** Memory of keys and values, in bytes. */
  readonly cacheBytes: number;
  /** Feeds tokens and gives the logits [V] of each row in `outputs`, in that order. */
  step(batch: DecoderBatch): Promise<Float32Array[]>;
  /** Frees cache and plans; the weights stay. */
  dispose(): void;
}

/** What a step function is given, all on the device. */
interface StepInputs {
  readonly tokens_R: Tensor;
  readonly positions_R: Tensor;
  readonly slots_R: Tensor;
  readonly outputs_O: Tensor;
}

/**
 * Makes a decoder whose steps are compiled: one plan for each number of rows and outputs, rounded up to a power of two.
 * Rows that fill up a plan name a slot outside of the cache: nothing is written for them.
 *
 * @throws HeddleError "config" for sizes that the model does not have
 */
export function createDecoder(
  model: { readonly config: DecoderConfig; readonly weights: DecoderWeights; readonly device: Device },
  options: DecoderOptions,
): Decoder {
  const { config, weights, device } = model;
  const { numSlots, maxSeqLen = config.maxSeqLen, maxRows = 64 } = options;
  checkSizes(config, { numSlots, maxSeqLen, maxRows });
  const cache = createKvCache(device, {
    numLayers: config.numLayers,
    numSlots,
    maxSeqLen,
    numKvHeads: config.numKvHeads,
    headDim: config.headDim,
    dtype: floatDType(weights.embedding),
  });
  // Weights and cache are caught from outside, so that a step need not look through their trees.
  const run = compile((inputs: StepInputs) => stepLogits(config, { weights, cache, maxSeqLen }, inputs));
  const state = { isStepping: false, isDisposed: false };
  return {
    numSlots,
    maxSeqLen,
    vocabSize: config.vocabSize,
    cacheBytes: cache.layers.reduce((sum, { key, value }) => sum + key.byteLength + value.byteLength, 0),
    async step(batch) {
      if (state.isDisposed) {
        throw new HeddleError(
          "disposed",
          "step: the decoder must not have been disposed; got one that was. Make a new one.",
        );
      }
      checkBatch(batch, { numSlots, maxSeqLen, vocabSize: config.vocabSize });
      if (state.isStepping) {
        throw new HeddleError(
          "config",
          "step: calls must not overlap; got one while another runs. Await the first.",
        );
      }
      state.isStepping = true;
      try {
        const logits: Float32Array[] = new Array(batch.outputs.length);
        for (const piece of pieces(batch, maxRows)) {
          const inputs = stepInputs(device, piece.batch, numSlots);
          const result_OV = run(inputs);
          disposeTree(inputs);
          const rows = piece.wanted.length === 0 ? [] : await readRows(result_OV, piece.wanted.length);
          result_OV.dispose();
          for (const [at, place] of piece.wanted.entries()) logits[place] = rows[at] ?? new Float32Array(0);
        }
        return logits;
      } finally {
        state.isStepping = false;
      }
    },
    dispose() {
      if (state.isDisposed) return;
      state.isDisposed = true;
      run.dispose();
      disposeTree(cache);
    },
  };
}

/** Each row is a sequence of one token: rows of one prompt find each other's keys in the cache, written just before. */
function stepLogits(
  config: DecoderConfig,
  {
    weights,
    cache,
    maxSeqLen,
  }: { readonly weights: DecoderWeights; readonly cache: KvCache; readonly maxSeqLen: number },
  { tokens_R, positions_R, slots_R, outputs_O }: StepInputs,
): Tensor {
  const { last } = decoderHidden(config, weights, {
    ids: tokens_R.reshape([-1, 1]),
    positions: positions_R.reshape([-1, 1]),
    attend: cacheAttend(cache, { slots_B: slots_R, starts_B: positions_R }),
    seqLen: maxSeqLen,
  });
  return unembed(weights, take(last.reshape([-1, config.modelDim]), outputs_O));
}

interface Piece {
  readonly batch: DecoderBatch;
  /** For each output of the piece, its place among those of the whole batch. */
  readonly wanted: readonly number[];
}

/** Cuts a batch into runs of at most `maxRows` rows. */
function* pieces({ tokens, positions, slots, outputs }: DecoderBatch, maxRows: number): Generator<Piece> {
  for (let start = 0; start < tokens.length; start += maxRows) {
    const end = Math.min(start + maxRows, tokens.length);
    const wanted = [...outputs.keys()].filter((place) => {
      const row = outputs[place] ?? -1;
      return row >= start && row < end;
    });
    yield {
      wanted,
      batch: {
        tokens: tokens.subarray(start, end),
        positions: positions.subarray(start, end),
        slots: slots.subarray(start, end),
        outputs: Int32Array.from(wanted, (place) => (outputs[place] ?? 0) - start),
      },
    };
  }
}

/** Uploads a piece, filled up to a power of two of rows and of outputs. */
function stepInputs(
  device: Device,
  { tokens, positions, slots, outputs }: DecoderBatch,
  noSlot: number,
): StepInputs {
  const numRows = powerOfTwo(tokens.length);
  const filled = (values: Int32Array, length: number, filler: number) => {
    const whole = new Int32Array(length).fill(filler);
    whole.set(values);
    return tensor(device, whole);
  };
  return {
    tokens_R: filled(tokens, numRows, 0),
    positions_R: filled(positions, numRows, 0),
    slots_R: filled(slots, numRows, noSlot),
    outputs_O: filled(outputs, powerOfTwo(outputs.length), 0),
  };
}

async function readRows(logits_OV: Tensor, count: number): Promise<Float32Array[]> {
  const data = await logits_OV.data();
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  const width = logits_OV.shape[1] ?? 0;
  return Array.from({ length: count }, (_, row) => values.subarray(row * width, (row + 1) * width));
}

/** Keys and values have the dtype of the activations, which is that of the embedding. */
function floatDType({ dtype }: Tensor): FloatDType {
  invariant(isFloat(dtype), "an embedding table holds floats");
  return dtype;
}

function powerOfTwo(count: number): number {
  return count <= 1 ? 1 : 2 ** Math.ceil(Math.log2(count));
}

function checkSizes(
  config: DecoderConfig,
  sizes: { numSlots: number; maxSeqLen: number; maxRows: number },
): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      const message = `createDecoder: ${name} must be a whole number >= 1; got ${value}. Pass a greater one.`;
      throw new HeddleError("config", message, { [name]: value });
    }
  }
  if (config.positions.kind === "learned" && sizes.maxSeqLen > config.maxSeqLen) {
    const message = `createDecoder: maxSeqLen must not pass the learned positions; got ${sizes.maxSeqLen}, the model has ${config.maxSeqLen}. Use at most that.`;
    throw new HeddleError("config", message, { maxSeqLen: sizes.maxSeqLen });
  }
}

function checkBatch(
  { tokens, positions, slots, outputs }: DecoderBatch,
  limits: { readonly numSlots: number; readonly maxSeqLen: number; readonly vocabSize: number },
): void {
  if (positions.length !== tokens.length || slots.length !== tokens.length) {
    const got = `tokens ${tokens.length}, positions ${positions.length}, slots ${slots.length}`;
    const message = `step: tokens, positions and slots must be of one length; got ${got}. Pass one of each a row.`;
    throw new HeddleError("shape", message, { tokens: tokens.length });
  }
  checkRange("token", tokens, limits.vocabSize);
  checkRange("position", positions, limits.maxSeqLen);
  checkRange("slot", slots, limits.numSlots);
  checkRange("output", outputs, tokens.length);
}

function checkRange(name: string, values: Int32Array, limit: number): void {
  const at = values.findIndex((value) => value < 0 || value >= limit);
  if (at < 0) return;
  const code = name === "position" ? "capacity" : "shape";
  const message = `step: each ${name} must be below ${limit}; got ${values[at]} at index ${at}. Check the batch against the decoder's sizes.`;
  throw new HeddleError(code, message, { [name]: values[at], limit });
}
