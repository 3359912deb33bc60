import { type Device, HeddleError, logSoftmax, scope, type Tensor, tensor, topK } from "@heddle/tensor";
import { normalize } from "../blocks/norm.js";
import type { DecoderConfig } from "../config.js";
import { type DecoderInputs, decoderHidden, unembed } from "../decoder/decoder.js";
import type { DecoderWeights } from "../weights.js";

/**
 * What a decoder would say after each layer: the residual stream there, through the last norm and the unembedding.
 *
 * Shapes: ids [B, T] -> logits [B, T, V] before the first layer and after each; the last are the model's own.
 * @returns numLayers + 1 tensors that the caller disposes; `readLogitLens` gives the gist in less memory
 * @see nostalgebraist 2020, "interpreting GPT: the logit lens"
 */
export function logitLens(
  config: DecoderConfig,
  weights: DecoderWeights,
  inputs: DecoderInputs,
): readonly Tensor[] {
  return scope(inputs.ids.device, () =>
    residualStreams(config, weights, inputs).map((stream) => streamLogits(config, weights, stream)),
  );
}

/** What a decoder would say at one place: its likeliest tokens, and how sure it is. */
export interface LensCell {
  /** Likeliest first; probabilities 0..1. */
  readonly top: readonly { readonly id: number; readonly probability: number }[];
  /** -sum p ln p of all tokens, in nats: 0 where one token is certain, ln(vocabSize) where all are alike. */
  readonly entropy: number;
}

/**
 * Reads the logit lens of a text: for each layer and position the likeliest next tokens and the entropy. Plain data, to be
 * looked at with `lensHeatMap` or any plotting library.
 *
 * Logits of one layer at a time are in memory, T V numbers; only what is returned is read back.
 * @param ids  token ids of the text
 * @param options.top  tokens a place. Default 5
 * @returns [numLayers + 1][T] cells, from before the first layer to after the last: the last row is what the model says
 * @throws HeddleError "config" for no ids, or for a `top` that is not a whole number >= 1
 */
export async function readLogitLens(
  model: { readonly config: DecoderConfig; readonly weights: DecoderWeights; readonly device: Device },
  ids: ArrayLike<number>,
  { top = 5 }: { readonly top?: number } = {},
): Promise<readonly (readonly LensCell[])[]> {
  const { config, weights, device } = model;
  if (ids.length === 0 || !Number.isSafeInteger(top) || top < 1) {
    const message = `readLogitLens: there must be a token, and top must be a whole number >= 1; got ${ids.length} ids, top ${top}. Pass the ids of a text.`;
    throw new HeddleError("config", message, { ids: ids.length, top });
  }
  const streams = scope(device, () =>
    residualStreams(config, weights, {
      ids: tensor(device, Int32Array.from(ids), { shape: [1, ids.length] }),
    }),
  );
  try {
    const rows: LensCell[][] = [];
    for (const stream of streams) rows.push(await readCells(model, stream, Math.min(top, config.vocabSize)));
    return rows;
  } finally {
    for (const stream of streams) stream.dispose();
  }
}

function residualStreams(
  config: DecoderConfig,
  weights: DecoderWeights,
  inputs: DecoderInputs,
): readonly Tensor[] {
  const { activations } = decoderHidden(config, weights, { ...inputs, inspect: { keep: ["residual"] } });
  return activations?.residual ?? [];
}

/** [B, T, E] -> [B, T, V] */
function streamLogits(config: DecoderConfig, weights: DecoderWeights, stream: Tensor): Tensor {
  const { norm } = weights;
  return unembed(config, weights, norm === undefined ? stream : normalize(config.norm, norm, stream));
}

/** Cells of a stream [1, T, E]. */
async function readCells(
  {
    config,
    weights,
    device,
  }: { readonly config: DecoderConfig; readonly weights: DecoderWeights; readonly device: Device },
  stream: Tensor,
  top: number,
): Promise<LensCell[]> {
  const found = scope(device, () => {
    const logProbabilities = logSoftmax(streamLogits(config, weights, stream).cast(device.defaultFloat));
    const { values, indices } = topK(logProbabilities, top);
    const probabilities = logProbabilities.exp();
    return { values, indices, entropies: probabilities.mul(logProbabilities).neg().sum({ axes: -1 }) };
  });
  try {
    const [values, indices, entropies] = await Promise.all([
      found.values.data(),
      found.indices.data(),
      found.entropies.data(),
    ]);
    return Array.from(entropies, (entropy, position) => ({
      entropy: Math.max(0, Number(entropy)),
      top: Array.from({ length: top }, (_, rank) => ({
        id: Number(indices[position * top + rank] ?? 0),
        probability: Math.exp(Number(values[position * top + rank] ?? 0)),
      })),
    }));
  } finally {
    for (const each of Object.values(found)) each.dispose();
  }
}
