import { type LatentWeights, reorderSlots } from "@heddle/attention";
import {
  compile,
  type Device,
  disposeTree,
  HeddleError,
  scope,
  type Tensor,
  take,
  tensor,
} from "@heddle/tensor";
import { cacheAttend } from "../blocks/attend.js";
import type { DecoderConfig } from "../config.js";
import type { DecoderWeights } from "../weights.js";
import { activationDType } from "./activation-dtype.js";
import { advanceState } from "./advance-state.js";
import { checkChoices, chooseTokens, type TokenDraws, tokenDraws } from "./choose-tokens.js";
import { type AheadInputs, type DecodeAheadOptions, decodeAhead } from "./decode-ahead.js";
import { decoderHidden, unembed } from "./decoder.js";
import {
  type BatchPiece,
  checkBatch,
  checkReady,
  type DecoderBatch,
  type DecoderState,
  isReordering,
  piecesOf,
  powerOfTwo,
} from "./decoder-batch.js";
import { cacheByteLength, createDecoderCache, type DecoderCache, latentWeightsOf } from "./decoder-cache.js";
import type { Decoder } from "./decoder-interface.js";
import { createPrefixFeeder } from "./prefix-prompt.js";
import { readChosen, readRows, readStates } from "./read-outputs.js";
import { type RunPiece, runPieces, uploadFilled } from "./run-pieces.js";
import { createSpanSlots, type SpanSlots } from "./span.js";

export interface DecoderOptions {
  /** Sequences that can be under way at the same time. */
  readonly numSlots: number;
  /** Longest sequence, in tokens. Default: the model's. */
  readonly maxSeqLen?: number;
  /** Most tokens that one run of the model takes; `step` splits longer batches. Default 128. */
  readonly maxRows?: number;
}

/** What a step function is given: B rows of T tokens, the tensors on the device. */
interface StepInputs {
  readonly rowLength: number;
  /** [B T] */
  readonly tokens: Tensor;
  /** [B T], or [2, B T] of a model that fills spans. */
  readonly positions: Tensor;
  readonly slots_B: Tensor;
  /** Position of each row's first token. */
  readonly starts_B: Tensor;
  /** Tokens whose logits are wanted. */
  readonly outputs_O: Tensor;
}

/**
 * Makes a decoder whose steps are compiled: one plan for each number of rows of one token, rounded up to a power of two, with
 * one output and with as many as there are slots; and one for each of two lengths of a prompt's chunks, which attention reads
 * in tiles. So few plans serve all batches, and a run over every size makes them all.
 * Rows that fill up a plan name a slot outside of the cache: nothing is written for them.
 *
 * Rotary scalings that depend on the length of a text (dynamic, longrope) are those of `maxSeqLen` from the first token on.
 * Differs from transformers, which changes them while a text grows and leaves old keys as they were.
 * @throws HeddleError "config" for sizes that the model does not have
 */
export function createDecoder(
  model: { readonly config: DecoderConfig; readonly weights: DecoderWeights; readonly device: Device },
  options: DecoderOptions,
): Decoder {
  const { config, weights, device } = model;
  const { numSlots, maxSeqLen = config.maxSeqLen, maxRows = 128 } = options;
  checkSizes(config, { numSlots, maxSeqLen, maxRows });
  const dtype = activationDType(weights);
  const { latentWeights, cache } = scope(device, () => {
    const latentWeights = latentWeightsOf(config, weights);
    const cache = createDecoderCache(config, device, { numSlots, maxSeqLen, dtype, latentWeights });
    return { latentWeights, cache };
  });
  const { logitsOf, statesOf, chosenOf, aheadStep } = compilePlans(config, {
    weights,
    latentWeights,
    maxSeqLen,
  });
  const state = { isStepping: false, isDisposed: false };
  const limits = { numSlots, maxSeqLen, vocabSize: config.vocabSize };
  const spans = config.span && createSpanSlots(config.span, numSlots);
  const prefix = config.isPrefixLm ? createPrefixFeeder({ model, cache, limits, state, spans }) : undefined;
  const upload = (piece: BatchPiece) => ({
    inputs: stepInputs(device, piece, { noSlot: numSlots, spans }),
    wanted: piece.wanted,
  });
  const eachPiece: EachPiece = (batch, run) =>
    runPieces(state, { batch, limits, pieces: () => piecesOf(batch, maxRows), upload }, run);
  return {
    ...limits,
    cacheBytes: cacheByteLength(cache),
    truncates: device.kind === "webgpu",
    step: (batch) =>
      eachPiece(batch, async (inputs, wanted) => {
        using logits_OV = logitsOf(cache, inputs);
        return await readRows(logits_OV, wanted.length);
      }),
    states: (batch) =>
      eachPiece(batch, (inputs, wanted) => {
        const found = statesOf(cache, inputs);
        return readStates(found, wanted.length).finally(() => disposeTree(found));
      }),
    ...(prefix && { feedPrefix: prefix.feedPrefix }),
    choose: async (batch, choices) => {
      checkChoices(batch, choices);
      return eachPiece(batch, async (inputs, wanted) => {
        const wantedChoices = wanted.map((at) => choices[at]);
        const drawing = tokenDraws(inputs.outputs_O, wantedChoices);
        try {
          using logits_OV = logitsOf(cache, inputs);
          using results = chosenOf(logits_OV, drawing);
          return await readChosen({ logits_OV, results }, wantedChoices);
        } finally {
          disposeTree(drawing);
        }
      });
    },
    // A step on the device counts one position.
    ...(spans === undefined && {
      ahead: aheadOf({ device, state, limits }, (inputs, temperature) =>
        aheadStep.bind(cache, inputs, temperature),
      ),
    }),
    reorderSlots(sources) {
      checkReady(state);
      if (!isReordering(sources, numSlots)) return;
      reorderSlots(cache, sources);
      spans?.reorder(sources);
    },
    dispose() {
      if (state.isDisposed) return;
      state.isDisposed = true;
      for (const part of [logitsOf, statesOf, chosenOf, aheadStep, prefix]) part?.dispose();
      disposeTree([cache, latentWeights]);
    },
  };
}

/** Goes on with one sequence by a step on the device. */
function aheadOf(
  {
    device,
    state,
    limits,
  }: {
    readonly device: Device;
    readonly state: DecoderState;
    readonly limits: Parameters<typeof checkBatch>[1];
  },
  bind: (inputs: AheadInputs, temperature: number) => ReturnType<Parameters<typeof decodeAhead>[2]>,
): NonNullable<Decoder["ahead"]> {
  return async function* (options) {
    checkReady(state);
    checkAhead(options, limits);
    state.isStepping = true;
    try {
      const steps = Math.min(options.steps, limits.maxSeqLen - options.position);
      yield* decodeAhead(device, { ...options, steps }, (inputs) => bind(inputs, options.temperature));
    } finally {
      state.isStepping = false;
    }
  };
}

/**
 * The compiled functions of a decoder. Weights are caught from outside, so that a step need not look through their tree; the cache is
 * written to.
 */
function compilePlans(config: DecoderConfig, fixed: Omit<StepPlace, "cache">) {
  return {
    logitsOf: compile((cache: DecoderCache, inputs: StepInputs) =>
      stepLogits(config, { ...fixed, cache }, inputs),
    ),
    statesOf: compile((cache: DecoderCache, inputs: StepInputs) => {
      const hidden = wantedHidden(config, { ...fixed, cache }, inputs);
      return { hidden, logits: unembed(config, fixed.weights, hidden) };
    }),
    // A plan of its own, which serves steps of every size.
    chosenOf: compile(
      (logits: Tensor, drawing: TokenDraws | undefined) => chooseTokens(logits, drawing).results,
    ),
    aheadStep: compile((cache: DecoderCache, inputs: AheadInputs, temperature: number) =>
      stepToken(config, { ...fixed, cache }, { ...inputs, temperature }),
    ),
  };
}

/** Runs each piece of a batch. */
type EachPiece = <Output>(batch: DecoderBatch, run: RunPiece<StepInputs, Output>) => Promise<Output[]>;

/** What a step works with. */
interface StepPlace {
  readonly weights: DecoderWeights;
  readonly latentWeights: readonly (LatentWeights | undefined)[];
  readonly cache: DecoderCache;
  readonly maxSeqLen: number;
}

function stepLogits(config: DecoderConfig, place: StepPlace, inputs: StepInputs): Tensor {
  // The device widens half floats faster than the thread that reads them.
  return unembed(config, place.weights, wantedHidden(config, place, inputs)).cast("f32");
}

/** What the outputs are unembedded from, [O, E]. */
function wantedHidden(config: DecoderConfig, place: StepPlace, inputs: StepInputs): Tensor {
  return take(stepHidden(config, place, inputs), inputs.outputs_O);
}

/** Rows of one prompt find each other's keys in the cache, written just before. [B T, E] */
function stepHidden(
  config: DecoderConfig,
  { weights, latentWeights, cache, maxSeqLen }: StepPlace,
  { rowLength, tokens, positions, slots_B, starts_B }: Omit<StepInputs, "outputs_O">,
): Tensor {
  const { last } = decoderHidden(config, weights, {
    ids: tokens.reshape([-1, rowLength]),
    positions: positions.reshape([...positions.shape.slice(0, -1), -1, rowLength]),
    attend: cacheAttend(cache, { slots_B, starts_B, latentWeights }),
    seqLen: maxSeqLen,
  });
  return last.reshape([-1, config.modelDim]);
}

function checkAhead(
  { token, position, slot }: DecodeAheadOptions,
  limits: { readonly numSlots: number; readonly maxSeqLen: number; readonly vocabSize: number },
): void {
  const one = (value: number) => Int32Array.of(value);
  checkBatch({ tokens: one(token), positions: one(position), slots: one(slot), outputs: one(0) }, limits);
}

/** One row, whose next token is chosen on the device and takes the place of the last one. */
function stepToken(
  config: DecoderConfig,
  place: StepPlace,
  { state, slots, draws, filters, temperature }: AheadInputs & { readonly temperature: number },
): void {
  const { token, position, row } = state;
  const hidden = stepHidden(config, place, {
    rowLength: 1,
    tokens: token,
    positions: position,
    slots_B: slots,
    starts_B: position,
  });
  const drawing = draws && {
    temperature: filters?.temperature ?? temperature,
    draws: take(draws, row),
    ...(filters && { filters }),
  };
  advanceState(state, chooseTokens(unembed(config, place.weights, hidden), drawing));
}

/**
 * Uploads a piece: rows of one token are filled up to a power of two, outputs to one or as many as the slots can ask for. A
 * chunk is as long as its plan.
 */
function stepInputs(
  device: Device,
  { rowLength, batch }: BatchPiece,
  { noSlot, spans }: { readonly noSlot: number; readonly spans: SpanSlots | undefined },
): StepInputs {
  const { tokens, positions, slots, outputs } = batch;
  const numRows = powerOfTwo(tokens.length);
  const mostOutputs = Math.max(powerOfTwo(outputs.length), Math.min(numRows, powerOfTwo(noSlot)));
  const numStarts = rowLength === 1 ? numRows : 1;
  return {
    rowLength,
    tokens: uploadFilled(device, tokens, { length: numRows }),
    positions: spans
      ? uploadAxes(device, spans.places(batch), numRows)
      : uploadFilled(device, positions, { length: numRows }),
    slots_B: uploadFilled(device, slots.subarray(0, numStarts), { length: numStarts, filler: noSlot }),
    starts_B: uploadFilled(device, positions.subarray(0, numStarts), { length: numStarts }),
    outputs_O: uploadFilled(device, outputs, { length: outputs.length <= 1 ? 1 : mostOutputs }),
  };
}

/** Positions [2 N] of two axes, each filled up to `length`: [2, length]. */
function uploadAxes(device: Device, places: Int32Array, length: number): Tensor {
  const filled = new Int32Array(2 * length);
  filled.set(places.subarray(0, places.length / 2));
  filled.set(places.subarray(places.length / 2), length);
  return tensor(device, filled, { shape: [2, length] });
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
