import type { LinearWeight, Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "./config.js";

/** A linear layer: x -> x W^T + b. The weight may be dense, quantised, adapted, sharded. */
export interface LinearWeights {
  readonly weight: LinearWeight;
  readonly bias?: Tensor;
}

/** A norm's scale and, for layer norm, shift; each [E]. */
export interface NormWeights {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

export interface AttentionWeights {
  /** [H D, E] */
  readonly query: LinearWeights;
  /** [G D, E] */
  readonly key: LinearWeights;
  /** [G D, E] */
  readonly value: LinearWeights;
  /** [E, H D] */
  readonly output: LinearWeights;
}

export interface MlpWeights {
  /** [F, E]; only where the block is gated. */
  readonly gate?: LinearWeights;
  /** [F, E] */
  readonly up: LinearWeights;
  /** [E, F] */
  readonly down: LinearWeights;
}

export interface LayerWeights {
  readonly attentionNorm: NormWeights;
  readonly attention: AttentionWeights;
  readonly mlpNorm: NormWeights;
  readonly mlp: MlpWeights;
}

/** The weights of a decoder: a plain tree, whose paths (`layers.0.attention.query.weight`) name them. */
export interface DecoderWeights {
  /** [V, E] */
  readonly embedding: Tensor;
  /** [maxSeqLen, E]; only with learned positions. */
  readonly positionEmbedding?: Tensor;
  readonly layers: readonly LayerWeights[];
  readonly norm: NormWeights;
  /** [V, E]; absent where the embedding is used ("tied"). */
  readonly unembedding?: LinearWeight;
}

/** Makes the tensor of one leaf. */
export type MakeWeight = (path: string, shape: readonly number[]) => Tensor;

/** Builds the tree that a configuration calls for, asking `make` for every leaf. */
export function buildWeights(config: DecoderConfig, make: MakeWeight): DecoderWeights {
  const { vocabSize, modelDim, maxSeqLen } = config;
  return {
    embedding: make("embedding", [vocabSize, modelDim]),
    ...(config.positions.kind === "learned"
      ? { positionEmbedding: make("positionEmbedding", [maxSeqLen, modelDim]) }
      : {}),
    layers: Array.from({ length: config.numLayers }, (_, layer) =>
      buildLayer(config, make, `layers.${layer}`),
    ),
    norm: buildNorm(config, make, "norm"),
    ...(config.tieEmbeddings ? {} : { unembedding: make("unembedding", [vocabSize, modelDim]) }),
  };
}

/** Shape of every weight, by its path. */
export function weightShapes(config: DecoderConfig): ReadonlyMap<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  // The tree itself is not used: only the leaves that are asked for.
  buildWeights(config, (path, shape) => {
    shapes.set(path, shape);
    return undefined as unknown as Tensor;
  });
  return shapes;
}

function buildLayer(config: DecoderConfig, make: MakeWeight, path: string): LayerWeights {
  const { modelDim, ffnDim, mlp, attention } = config;
  const queryDim = config.numHeads * config.headDim;
  const keyDim = config.numKvHeads * config.headDim;
  const attentionLinear = (name: string, shape: readonly number[]) =>
    buildLinear(make, `${path}.attention.${name}`, { shape, hasBias: attention.hasBias });
  const mlpLinear = (name: string, shape: readonly number[]) =>
    buildLinear(make, `${path}.mlp.${name}`, { shape, hasBias: mlp.hasBias });
  return {
    attentionNorm: buildNorm(config, make, `${path}.attentionNorm`),
    attention: {
      query: attentionLinear("query", [queryDim, modelDim]),
      key: attentionLinear("key", [keyDim, modelDim]),
      value: attentionLinear("value", [keyDim, modelDim]),
      output: attentionLinear("output", [modelDim, queryDim]),
    },
    mlpNorm: buildNorm(config, make, `${path}.mlpNorm`),
    mlp: {
      ...(mlp.kind === "gated" ? { gate: mlpLinear("gate", [ffnDim, modelDim]) } : {}),
      up: mlpLinear("up", [ffnDim, modelDim]),
      down: mlpLinear("down", [modelDim, ffnDim]),
    },
  };
}

function buildLinear(
  make: MakeWeight,
  path: string,
  { shape, hasBias }: { readonly shape: readonly number[]; readonly hasBias: boolean },
): LinearWeights {
  const weight = make(`${path}.weight`, shape);
  return hasBias ? { weight, bias: make(`${path}.bias`, shape.slice(0, 1)) } : { weight };
}

function buildNorm({ norm, modelDim }: DecoderConfig, make: MakeWeight, path: string): NormWeights {
  const weight = make(`${path}.weight`, [modelDim]);
  return norm.kind === "layer" ? { weight, bias: make(`${path}.bias`, [modelDim]) } : { weight };
}
