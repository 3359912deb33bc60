import { add, arange, cumsum, embedding, fillLike, invariant, mul, scope, type Tensor } from "@heddle/tensor";
import { bidirectionalAttend } from "../blocks/attend-bidirectional.js";
import type { LayerContext } from "../blocks/layer.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import { layerRotations } from "../blocks/rotation.js";
import { type HiddenStates, runLayers } from "../decoder/decoder.js";
import { type Inspection, inspectorOf } from "../inspection/inspect.js";
import type { EncoderConfig } from "./config.js";
import { disentangledBias } from "./disentangled.js";
import { predict } from "./predictions.js";
import type { EncoderWeights } from "./weights.js";

export interface EncoderInputs {
  /** Token ids, [B, T] i32. */
  readonly ids: Tensor;
  /** True for tokens, false for padding, [B, T] bool. Default: no padding. */
  readonly mask?: Tensor;
  /** Which part of the input each token belongs to, [B, T] i32. Default: all to part 0. */
  readonly typeIds?: Tensor;
  /** Values to read or replace on the way. Default: none, at no cost. */
  readonly inspect?: Inspection | undefined;
}

/**
 * An encoder and its predictions: embedding -> layers in which every token sees every other -> predictions.
 *
 * Shapes: ids [B, T] -> [B, T, V] for predicted tokens, [B, C] or [B, T, C] for classes. The caller disposes the result.
 * @throws HeddleError "unsupported" for a model without predictions
 */
export function encoderLogits(config: EncoderConfig, weights: EncoderWeights, inputs: EncoderInputs): Tensor {
  return scope(inputs.ids.device, () => {
    const hidden = encoderHidden(config, weights, inputs).last;
    return predict(config, weights, { hidden, mask: inputs.mask });
  });
}

/**
 * An encoder up to its last hidden states, [B, T, E].
 *
 * @param options.keepLayers  also return what goes in and out of each layer
 * @returns tensors that the caller disposes
 */
export function encoderHidden(
  config: EncoderConfig,
  weights: EncoderWeights,
  inputs: EncoderInputs & { readonly keepLayers?: boolean },
): HiddenStates {
  const { ids, mask, keepLayers = false } = inputs;
  const { device } = ids;
  const { numLayers, numLayerSets = numLayers } = config;
  const setOf = (layer: number) => Math.floor((layer * numLayerSets) / numLayers);
  return scope(device, () => {
    const seqLen = ids.shape[1] ?? 1;
    const inspector = inspectorOf(inputs.inspect);
    const plain: LayerContext = {
      config,
      rotations: layerRotations(config, { positions: arange(device, seqLen), seqLen }),
      attend: bidirectionalAttend({ mask, bias: disentangledBias(config, weights, setOf) }),
      drop: (x) => x,
    };
    const stack = { context: inspector?.around(plain) ?? plain, inspector, keepLayers };
    const layerWeights = Array.from({ length: numLayers }, (_, layer) => {
      const own = weights.layers[setOf(layer)];
      invariant(own, `layer ${layer} has weights`);
      return own;
    });
    const { x_BTE, layers } = runLayers(stack, layerWeights, embed(config, weights, inputs));
    const last = weights.norm === undefined ? x_BTE : normalize(config.norm, weights.norm, x_BTE);
    return { last, layers, ...(inspector === undefined ? {} : { activations: inspector.activations }) };
  });
}

/** Tokens, parts and positions, added and normed: [B, T] -> [B, T, E]. */
function embed(
  { norm, inputs, tokens }: EncoderConfig,
  weights: EncoderWeights,
  { ids, typeIds }: EncoderInputs,
): Tensor {
  const { embedding: table, positionEmbedding, typeEmbedding, embeddingNorm, embeddingProjection } = weights;
  let x = embedding(ids, table);
  if (typeEmbedding !== undefined) x = add(x, embedding(typeIds ?? fillLike(ids, 0), typeEmbedding));
  if (positionEmbedding !== undefined) {
    const places =
      inputs.positions === "counted"
        ? countedPositions(ids, tokens.pad ?? 0)
        : arange(ids.device, ids.shape[1] ?? 1);
    x = add(x, embedding(places, positionEmbedding));
  }
  const normed = normalize(norm, embeddingNorm, x);
  return embeddingProjection === undefined ? normed : project(embeddingProjection, normed);
}

/** RoBERTa's positions: tokens that are not the padding token are counted from padId + 1; padding has position padId. */
function countedPositions(ids: Tensor, padId: number): Tensor {
  const isToken = ids.notEqual(padId).cast("i32");
  return add(mul(cumsum(isToken, { axis: 1 }), isToken), padId);
}
