import { type RopeFrequencies, ropeFrequencies, rotary } from "@heddle/positional-encodings";
import {
  add,
  dropout as applyDropout,
  arange,
  embedding,
  invariant,
  linear,
  scope,
  splitKey,
  type Tensor,
} from "@heddle/tensor";
import { type Attend, fullAttend } from "./attend.js";
import { decoderLayer, type LayerContext, normalize } from "./blocks.js";
import type { DecoderConfig } from "./config.js";
import type { DecoderWeights } from "./weights.js";

export interface DecoderInputs {
  /** Token ids, [B, T] i32. */
  readonly ids: Tensor;
  /** Position of each token in its sequence, [B, T] i32. Default 0..T-1 in every row. */
  readonly positions?: Tensor;
  /** Default: causal attention among the tokens of a row. */
  readonly attend?: Attend;
  /** Longest sequence that the call belongs to, in tokens; some rotary scalings depend on it. Default T. */
  readonly seqLen?: number;
  /** For training: drops elements of the embedding and of what each block adds (GPT-2's residual dropout). `key` is u32 [2]. */
  readonly dropout?: { readonly rate: number; readonly key: Tensor };
}

export interface HiddenStates {
  /** After the last norm: what the unembedding reads, [B, T, E]. */
  readonly last: Tensor;
  /** Input of the first layer and output of each layer but the last, [B, T, E] each; empty unless asked for. */
  readonly layers: readonly Tensor[];
}

/**
 * The decoder: embedding -> layers -> norm -> unembedding. One function for every family.
 *
 * Shapes: ids [B, T] -> logits [B, T, V]. Weights and inputs are borrowed; the caller disposes the logits.
 */
export function decoderLogits(config: DecoderConfig, weights: DecoderWeights, inputs: DecoderInputs): Tensor {
  return scope(inputs.ids.device, () => unembed(weights, decoderHidden(config, weights, inputs).last));
}

/**
 * The decoder up to its last norm.
 *
 * @param options.keepLayers  also return what goes in and out of each layer
 * @returns tensors that the caller disposes
 */
export function decoderHidden(
  config: DecoderConfig,
  weights: DecoderWeights,
  inputs: DecoderInputs & { readonly keepLayers?: boolean },
): HiddenStates {
  const { ids, attend = fullAttend(), seqLen = ids.shape[1] ?? 1, keepLayers = false } = inputs;
  const { device } = ids;
  return scope(device, () => {
    const positions_BT = inputs.positions ?? arange(device, ids.shape[1] ?? 1);
    const drop = dropper(config, inputs.dropout);
    const context: LayerContext = { config, attend, drop, rotate: rotation(config, positions_BT, seqLen) };
    const layers: Tensor[] = [];
    let x_BTE = drop(embed(weights, ids, positions_BT), 0);
    for (const [layer, layerWeights] of weights.layers.entries()) {
      if (keepLayers) layers.push(x_BTE);
      const input = { x_BTE, layer };
      x_BTE = scope(device, () => decoderLayer(context, layerWeights, input));
    }
    return { last: normalize(config, weights.norm, x_BTE), layers };
  });
}

/** Logits of hidden states: [B, T, E] -> [B, T, V], by the unembedding or, where tied, the embedding. */
export function unembed(weights: DecoderWeights, hidden_BTE: Tensor): Tensor {
  return linear(hidden_BTE, weights.unembedding ?? weights.embedding);
}

/** Rotation frequencies of a configuration for sequences of up to `seqLen` tokens; undefined without rotary positions. */
export function rotationFrequencies(
  { positions, headDim }: DecoderConfig,
  seqLen: number,
): RopeFrequencies | undefined {
  if (positions.kind !== "rope") return undefined;
  const { theta, scaling } = positions;
  const dependsOnLength = scaling.kind === "dynamic" || scaling.kind === "longrope";
  return ropeFrequencies({
    rotaryDim: headDim,
    theta,
    scaling: dependsOnLength ? { ...scaling, seqLen } : scaling,
  });
}

/** Dropout with a key of its own for the embedding (block 0) and each block after it. */
function dropper({ numLayers }: DecoderConfig, dropout: DecoderInputs["dropout"]): LayerContext["drop"] {
  if (dropout === undefined || dropout.rate === 0) return (x) => x;
  const keys = splitKey(dropout.key, 2 * numLayers + 1);
  return (x, block) => {
    const key = keys[block];
    invariant(key, `block ${block} has no dropout key`);
    return applyDropout(x, { rate: dropout.rate, key });
  };
}

function rotation(config: DecoderConfig, positions: Tensor, seqLen: number): (x_BHTD: Tensor) => Tensor {
  const frequencies = rotationFrequencies(config, seqLen);
  if (frequencies === undefined) return (x) => x;
  return (x) => rotary(x, { positions, frequencies, layout: "half" });
}

function embed(weights: DecoderWeights, ids: Tensor, positions: Tensor): Tensor {
  const tokens_BTE = embedding(ids, weights.embedding);
  if (weights.positionEmbedding === undefined) return tokens_BTE;
  return add(tokens_BTE, embedding(positions, weights.positionEmbedding));
}
