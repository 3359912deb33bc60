import type { Tensor } from "@heddle/tensor";
import {
  buildLayer,
  buildLinear,
  buildNorm,
  type LayerWeights,
  type LinearWeights,
  type MakeWeight,
  type NormWeights,
} from "../weights.js";
import type { EncoderConfig } from "./config.js";

export interface EncoderLayerWeights extends LayerWeights {
  /** Projections of distances to keys and to queries, [H D, E] each, where they have weights of their own. */
  readonly relativeKey?: LinearWeights;
  readonly relativeQuery?: LinearWeights;
}

export interface EncoderWeights {
  /** [V, D], D the width of the tables. */
  readonly embedding: Tensor;
  /** [maxPositions, D] */
  readonly positionEmbedding?: Tensor;
  /** [numTypes, D] */
  readonly typeEmbedding?: Tensor;
  readonly embeddingNorm: NormWeights;
  /** [E, D] */
  readonly embeddingProjection?: LinearWeights;
  /** Vectors of distances, [2 span, E]. */
  readonly relativeEmbedding?: Tensor;
  readonly relativeNorm?: NormWeights;
  /** As many as there are sets of layer weights. */
  readonly layers: readonly EncoderLayerWeights[];
  readonly norm?: NormWeights;
  readonly predictions?: PredictionWeights;
}

export interface PredictionWeights {
  /** [D, E] for tokens, [E, E] for classes. */
  readonly transform?: LinearWeights;
  readonly transformNorm?: NormWeights;
  /** [numClasses, E] */
  readonly classes?: LinearWeights;
  /** [V, D]; absent where the embedding is used. */
  readonly unembedding?: Tensor;
  /** [V] */
  readonly bias?: Tensor;
}

/** Builds the tree that a configuration calls for. */
export function buildEncoderWeights(config: EncoderConfig, make: MakeWeight): EncoderWeights {
  const { vocabSize, modelDim, norm, inputs, disentangled } = config;
  const { dim = modelDim, numTypes } = inputs;
  const numPositions = numPositionRows(config);
  return {
    embedding: make("embedding", [vocabSize, dim]),
    ...(numPositions === 0 ? {} : { positionEmbedding: make("positionEmbedding", [numPositions, dim]) }),
    ...(numTypes === 0 ? {} : { typeEmbedding: make("typeEmbedding", [numTypes, dim]) }),
    embeddingNorm: buildNorm(norm, make, "embeddingNorm", dim),
    ...(dim === modelDim
      ? {}
      : {
          embeddingProjection: buildLinear(make, "embeddingProjection", {
            shape: [modelDim, dim],
            hasBias: true,
          }),
        }),
    ...(disentangled === undefined
      ? {}
      : { relativeEmbedding: make("relativeEmbedding", [2 * disentangled.span, modelDim]) }),
    ...(disentangled?.hasNorm ? { relativeNorm: buildNorm(norm, make, "relativeNorm", modelDim) } : {}),
    layers: Array.from({ length: config.numLayerSets ?? config.numLayers }, (_, layer) => ({
      ...buildLayer(config, make, layer),
      ...buildRelative(config, make, `layers.${layer}`),
    })),
    ...(config.hasLastNorm ? { norm: buildNorm(norm, make, "norm", modelDim) } : {}),
    ...buildPredictions(config, make, dim),
  };
}

/** Rows of the table of learned positions; counted ones begin after the padding token's id. */
export function numPositionRows({ inputs, maxSeqLen, tokens }: EncoderConfig): number {
  switch (inputs.positions) {
    case "none":
      return 0;
    case "places":
      return maxSeqLen;
    case "counted":
      return maxSeqLen + (tokens.pad ?? 0) + 1;
    default:
      return inputs.positions satisfies never;
  }
}

function buildRelative(
  { modelDim, disentangled }: EncoderConfig,
  make: MakeWeight,
  path: string,
): Pick<EncoderLayerWeights, "relativeKey" | "relativeQuery"> {
  if (disentangled?.projections !== "own") return {};
  const has = (term: (typeof disentangled.terms)[number]) => disentangled.terms.includes(term);
  const shape = [modelDim, modelDim];
  return {
    ...(has("content-to-position")
      ? { relativeKey: buildLinear(make, `${path}.relativeKey`, { shape, hasBias: disentangled.hasKeyBias }) }
      : {}),
    ...(has("position-to-content")
      ? { relativeQuery: buildLinear(make, `${path}.relativeQuery`, { shape, hasBias: true }) }
      : {}),
  };
}

function buildPredictions(
  config: EncoderConfig,
  make: MakeWeight,
  dim: number,
): { predictions?: PredictionWeights } {
  const { predictions, modelDim, norm, vocabSize } = config;
  const linear = (name: string, shape: readonly number[], hasBias: boolean) =>
    buildLinear(make, `predictions.${name}`, { shape, hasBias });
  const normed = (width: number) => ({
    transformNorm: buildNorm(norm, make, "predictions.transformNorm", width),
  });
  switch (predictions.kind) {
    case "none":
      return {};
    case "tokens":
      return {
        predictions: {
          transform: linear("transform", [dim, modelDim], predictions.hasBias),
          ...normed(dim),
          ...(config.tieEmbeddings
            ? {}
            : { unembedding: make("predictions.unembedding", [vocabSize, dim], "matrix") }),
          ...(predictions.hasTokenBias ? { bias: make("predictions.bias", [vocabSize]) } : {}),
        },
      };
    case "classes": {
      const { transform, numClasses } = predictions;
      return {
        predictions: {
          ...(transform === undefined
            ? {}
            : { transform: linear("transform", [modelDim, modelDim], transform.hasBias) }),
          ...(transform?.hasNorm ? normed(modelDim) : {}),
          classes: linear("classes", [numClasses, modelDim], predictions.hasBias),
        },
      };
    }
    default:
      return predictions satisfies never;
  }
}
