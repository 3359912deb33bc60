import { type FloatDType, invariant, isFloat } from "@heddle/tensor";
import type { DecoderWeights, NormWeights } from "../weights.js";

/**
 * Dtype of what flows between the blocks: that of the norms' vectors, which must be the activations' own; matrices may be
 * narrower than it. Where no norm has a vector, that of the embedding.
 */
export function activationDType({ embedding, norm, layers }: DecoderWeights): FloatDType {
  const [first] = layers;
  const norms: readonly (NormWeights | undefined)[] = [norm, first?.attentionNorm, first?.mlpNorm];
  const vector = norms.find((each) => each?.weight !== undefined)?.weight;
  const { dtype } = vector ?? embedding;
  invariant(isFloat(dtype), "weights are floats");
  return dtype;
}
