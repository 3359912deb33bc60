import { scope, type Tensor } from "@heddle/tensor";
import { normalize } from "../blocks/norm.js";
import type { DecoderConfig } from "../config.js";
import { type DecoderInputs, decoderHidden, unembed } from "../decoder/decoder.js";
import type { DecoderWeights } from "../weights.js";

/**
 * What a decoder would say after each layer: the residual stream there, through the last norm and the unembedding.
 *
 * Shapes: ids [B, T] -> logits [B, T, V] before the first layer and after each; the last are the model's own.
 * @returns numLayers + 1 tensors that the caller disposes
 * @see nostalgebraist 2020, "interpreting GPT: the logit lens"
 */
export function logitLens(
  config: DecoderConfig,
  weights: DecoderWeights,
  inputs: DecoderInputs,
): readonly Tensor[] {
  return scope(inputs.ids.device, () => {
    const { activations } = decoderHidden(config, weights, { ...inputs, inspect: { keep: ["residual"] } });
    const { norm } = weights;
    return (activations?.residual ?? []).map((stream) =>
      unembed(config, weights, norm === undefined ? stream : normalize(config.norm, norm, stream)),
    );
  });
}
