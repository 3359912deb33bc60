import type { Tensor } from "@heddle/tensor";
import { buildLinear, buildNorm, type LinearWeights, type MakeWeight, type NormWeights } from "../weights.js";
import type { PermutationConfig } from "./config.js";

export interface RelativeAttentionWeights {
  /** Of contents, [E, H, D] each, as checkpoints store them. */
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
  readonly output: Tensor;
  /** Of distances, [E, H, D]. */
  readonly distance: Tensor;
  /** What every query asks of contents, distances and segments, [H, D] each. */
  readonly contentBias: Tensor;
  readonly positionBias: Tensor;
  readonly segmentBias: Tensor;
  /** What keys of the same and of another segment answer, [2, H, D]. */
  readonly segmentEmbedding: Tensor;
}

export interface PermutationLayerWeights {
  readonly attention: RelativeAttentionWeights;
  readonly attentionNorm: NormWeights;
  readonly up: LinearWeights;
  readonly down: LinearWeights;
  readonly mlpNorm: NormWeights;
}

export interface PermutationWeights {
  /** [V, E] */
  readonly embedding: Tensor;
  /** What stands in the place of a token to be predicted, [1, 1, E]. */
  readonly maskEmbedding: Tensor;
  readonly layers: readonly PermutationLayerWeights[];
  /** [V, E]; absent where the embedding is used. */
  readonly unembedding?: Tensor;
  /** [V] */
  readonly unembeddingBias: Tensor;
}

/** Builds the tree that a configuration calls for. */
export function buildPermutationWeights(config: PermutationConfig, make: MakeWeight): PermutationWeights {
  const { vocabSize, modelDim } = config;
  return {
    embedding: make("embedding", [vocabSize, modelDim]),
    maskEmbedding: make("maskEmbedding", [1, 1, modelDim]),
    layers: Array.from({ length: config.numLayers }, (_, layer) =>
      buildLayer(config, make, `layers.${layer}`),
    ),
    ...(config.tieEmbeddings ? {} : { unembedding: make("unembedding", [vocabSize, modelDim], "matrix") }),
    unembeddingBias: make("unembeddingBias", [vocabSize]),
  };
}

function buildLayer(
  { modelDim, ffnDim, numHeads, headDim, norm }: PermutationConfig,
  make: MakeWeight,
  path: string,
): PermutationLayerWeights {
  const attention = (name: string, shape: readonly number[]) => make(`${path}.attention.${name}`, shape);
  const heads = [numHeads, headDim];
  const projection = [modelDim, ...heads];
  return {
    attention: {
      query: attention("query", projection),
      key: attention("key", projection),
      value: attention("value", projection),
      output: attention("output", projection),
      distance: attention("distance", projection),
      contentBias: attention("contentBias", heads),
      positionBias: attention("positionBias", heads),
      segmentBias: attention("segmentBias", heads),
      segmentEmbedding: attention("segmentEmbedding", [2, ...heads]),
    },
    attentionNorm: buildNorm(norm, make, `${path}.attentionNorm`, modelDim),
    up: buildLinear(make, `${path}.up`, { shape: [ffnDim, modelDim], hasBias: true }),
    down: buildLinear(make, `${path}.down`, { shape: [modelDim, ffnDim], hasBias: true }),
    mlpNorm: buildNorm(norm, make, `${path}.mlpNorm`, modelDim),
  };
}
