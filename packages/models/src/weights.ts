import type { EmbeddingTable, LinearWeight, StackedWeight, Tensor } from "@heddle/tensor";
import {
  type AttentionConfig,
  type DecoderConfig,
  type ExpertsConfig,
  layerConfig,
  type MlpConfig,
  type NormConfig,
} from "./config.js";

/**
 * Makes the tensor of one leaf of a tree. A "matrix" is used through `linear`, `expertLinear` and `embedding` only, beside activations of any dtype, so
 * that its own may be narrower.
 */
export type MakeWeight = (path: string, shape: readonly number[], use?: "matrix") => Tensor;

/** A linear layer: x -> x W^T + b. The weight may be dense, quantised, adapted, sharded. */
export interface LinearWeights {
  readonly weight: LinearWeight;
  readonly bias?: Tensor;
}

/** What a norm learned: scale and shift, each [E]; both may be absent. */
export interface NormWeights {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
}

export interface AttentionWeights {
  /** [H D, E]; with latent attention [H D, queryRank] where there is a `queryDown`. */
  readonly query: LinearWeights;
  /** [G D, E]; without latent attention. */
  readonly key?: LinearWeights;
  /** [G Dv, E]; without latent attention. */
  readonly value?: LinearWeights;
  /** [E, H Dv] */
  readonly output: LinearWeights;
  readonly queryNorm?: NormWeights;
  readonly keyNorm?: NormWeights;
  /** [H] */
  readonly sinks?: Tensor;
  /** Latent attention: [queryRank, E] and its norm. */
  readonly queryDown?: LinearWeights;
  readonly queryDownNorm?: NormWeights;
  /** Latent attention: [kvRank + ropeDim, E], a norm of the first kvRank, and [H (D - ropeDim + Dv), kvRank]. */
  readonly kvDown?: LinearWeights;
  readonly kvDownNorm?: NormWeights;
  readonly kvUp?: LinearWeights;
}

export interface MlpWeights {
  /** [F, E]; only where the block is gated. */
  readonly gate?: LinearWeights;
  /** [F, E] */
  readonly up: LinearWeights;
  /** [E, F] */
  readonly down: LinearWeights;
}

/** One projection of all experts: X matrices, and X biases where they have any. */
export interface ExpertLinearWeights {
  /** [X, out, in], dense or a stack of another kind */
  readonly weight: Tensor | StackedWeight;
  /** [X, out] */
  readonly bias?: Tensor;
}

export interface ExpertsWeights {
  /** [X, E] */
  readonly router: LinearWeights;
  /** [X]: helps to choose. */
  readonly choiceBias?: Tensor;
  /** [X, F, E] */
  readonly gate: ExpertLinearWeights;
  /** [X, F, E] */
  readonly up: ExpertLinearWeights;
  /** [X, E, F] */
  readonly down: ExpertLinearWeights;
  readonly shared?: MlpWeights;
  /** [1, E] */
  readonly sharedGate?: LinearWeights;
}

export interface LayerWeights {
  /** Before attention, or on the sum with its result. */
  readonly attentionNorm?: NormWeights;
  readonly attention: AttentionWeights;
  /** On what attention gives. */
  readonly attentionPostNorm?: NormWeights;
  readonly mlpNorm?: NormWeights;
  /** Absent in a layer of experts. */
  readonly mlp?: MlpWeights;
  readonly experts?: ExpertsWeights;
  readonly mlpPostNorm?: NormWeights;
}

/** The weights of a decoder: a plain tree, whose paths (`layers.0.attention.query.weight`) name them. */
export interface DecoderWeights {
  /** [V, E] */
  readonly embedding: EmbeddingTable;
  /** [maxSeqLen + offset, E]; only with learned positions. */
  readonly positionEmbedding?: Tensor;
  readonly embeddingNorm?: NormWeights;
  /** [E, embedding.dim], and [embedding.dim, E] before the unembedding; only where the table has a width of its own. */
  readonly embeddingProjection?: LinearWeights;
  readonly layers: readonly LayerWeights[];
  readonly norm?: NormWeights;
  readonly headProjection?: LinearWeights;
  /** [V, E]; absent where the embedding is used ("tied"). */
  readonly unembedding?: LinearWeight;
  /** [V] */
  readonly unembeddingBias?: Tensor;
}

/** Builds the tree that a configuration calls for, asking `make` for every leaf. */
export function buildWeights(config: DecoderConfig, make: MakeWeight): DecoderWeights {
  const { vocabSize, modelDim, maxSeqLen, positions, embedding = {}, head = {}, norm } = config;
  const { dim = modelDim } = embedding;
  const project = (path: string, shape: readonly number[]) =>
    dim === modelDim ? {} : { [path]: buildLinear(make, path, { shape, hasBias: false }) };
  const offset = positions.kind === "learned" ? (positions.offset ?? 0) : 0;
  // Where norms have no vectors, the embedding's dtype is that of the activations.
  const use = norm.learns === "none" ? undefined : "matrix";
  return {
    embedding: make("embedding", [vocabSize, dim], use),
    ...(positions.kind === "learned"
      ? { positionEmbedding: make("positionEmbedding", [maxSeqLen + offset, modelDim]) }
      : {}),
    ...(embedding.hasNorm ? { embeddingNorm: buildNorm(norm, make, "embeddingNorm", modelDim) } : {}),
    ...project("embeddingProjection", [modelDim, dim]),
    layers: Array.from({ length: config.numLayers }, (_, layer) => buildLayer(config, make, layer)),
    ...((head.hasNorm ?? true) ? { norm: buildNorm(norm, make, "norm", modelDim) } : {}),
    ...project("headProjection", [dim, modelDim]),
    ...(config.tieEmbeddings ? {} : { unembedding: make("unembedding", [vocabSize, dim], "matrix") }),
    ...(head.hasBias ? { unembeddingBias: make("unembeddingBias", [vocabSize]) } : {}),
  };
}

/** The weights of layer `layer`, under `layers.<layer>`. */
export function buildLayer(config: DecoderConfig, make: MakeWeight, layer: number): LayerWeights {
  const { modelDim, norm, residual = defaultResidual } = config;
  const { mlp } = layerConfig(config, layer);
  const path = `layers.${layer}`;
  const normAt = (name: string, isThere: boolean) =>
    isThere ? { [name]: buildNorm(norm, make, `${path}.${name}`, modelDim) } : {};
  const isBefore = residual.norms !== "post";
  const isAfter = residual.norms === "post" || residual.norms === "both";
  return {
    ...normAt("attentionNorm", isBefore && !(layer === 0 && residual.skipsFirstNorm)),
    attention: buildAttention(config, make, { layer, name: "attention" }),
    ...normAt("attentionPostNorm", isAfter),
    ...normAt("mlpNorm", isBefore && !residual.sharesNorm),
    ...(mlp.experts === undefined
      ? { mlp: buildMlp(make, `${path}.mlp`, { ...mlp, modelDim, ffnDim: mlp.ffnDim ?? config.ffnDim }) }
      : { experts: buildExperts(make, `${path}.experts`, { config, mlp, experts: mlp.experts }) }),
    ...normAt("mlpPostNorm", isAfter),
  };
}

const defaultResidual = {
  order: "sequential",
  norms: "pre",
  sharesNorm: false,
  skipsFirstNorm: false,
} as const;

/** The weights of one attention block, under `layers.<layer>.<name>`. */
export function buildAttention(
  config: DecoderConfig,
  make: MakeWeight,
  { layer, name }: { readonly layer: number; readonly name: string },
): AttentionWeights {
  const { modelDim, numHeads, headDim } = config;
  const { attention, numKvHeads } = layerConfig(config, layer);
  const { hasBias, hasKeyBias = hasBias, hasOutputBias = hasBias, hasSinks = false, latent } = attention;
  const path = `layers.${layer}.${name}`;
  const linear = (part: string, shape: readonly number[], withBias = hasBias) =>
    buildLinear(make, `${path}.${part}`, { shape, hasBias: withBias });
  const valueDim = latent?.valueDim ?? headDim;
  return {
    ...(latent === undefined
      ? {
          query: linear("query", [numHeads * headDim, modelDim]),
          key: linear("key", [numKvHeads * headDim, modelDim], hasKeyBias),
          value: linear("value", [numKvHeads * valueDim, modelDim]),
        }
      : buildLatent(config, make, { path, attention, latent })),
    ...buildQueryKeyNorms(config, make, { path, attention, numKvHeads }),
    ...(hasSinks ? { sinks: make(`${path}.sinks`, [numHeads]) } : {}),
    output: linear("output", [modelDim, numHeads * valueDim], hasOutputBias),
  };
}

function buildLatent(
  { modelDim, numHeads, headDim, norm }: DecoderConfig,
  make: MakeWeight,
  {
    path,
    attention,
    latent,
  }: {
    readonly path: string;
    readonly attention: AttentionConfig;
    readonly latent: NonNullable<AttentionConfig["latent"]>;
  },
) {
  const { queryRank, kvRank, ropeDim, valueDim } = latent;
  const linear = (name: string, shape: readonly number[], hasBias = false) =>
    buildLinear(make, `${path}.${name}`, { shape, hasBias });
  const plainHeads = headDim - ropeDim + valueDim;
  return {
    ...(queryRank === undefined
      ? {}
      : {
          queryDown: linear("queryDown", [queryRank, modelDim], attention.hasBias),
          queryDownNorm: buildNorm(norm, make, `${path}.queryDownNorm`, queryRank),
        }),
    query: linear("query", [numHeads * headDim, queryRank ?? modelDim]),
    kvDown: linear("kvDown", [kvRank + ropeDim, modelDim], attention.hasBias),
    kvDownNorm: buildNorm(norm, make, `${path}.kvDownNorm`, kvRank),
    kvUp: linear("kvUp", [numHeads * plainHeads, kvRank]),
  };
}

function buildQueryKeyNorms(
  { numHeads, headDim }: DecoderConfig,
  make: MakeWeight,
  {
    path,
    attention: { queryKeyNorm: norm },
    numKvHeads,
  }: { readonly path: string; readonly attention: AttentionConfig; readonly numKvHeads: number },
) {
  if (norm === undefined) return {};
  const build = (name: string, heads: number) => {
    if (norm.over === "head") return buildNorm(norm, make, `${path}.${name}`, headDim);
    return buildNorm(norm, make, `${path}.${name}`, norm.over === "all" ? heads * headDim : [heads, headDim]);
  };
  return { queryNorm: build("queryNorm", numHeads), keyNorm: build("keyNorm", numKvHeads) };
}

function buildMlp(
  make: MakeWeight,
  path: string,
  {
    kind,
    hasBias,
    modelDim,
    ffnDim,
  }: Pick<MlpConfig, "kind" | "hasBias"> & { readonly modelDim: number; readonly ffnDim: number },
): MlpWeights {
  const linear = (name: string, shape: readonly number[]) =>
    buildLinear(make, `${path}.${name}`, { shape, hasBias });
  return {
    ...(kind === "plain" ? {} : { gate: linear("gate", [ffnDim, modelDim]) }),
    up: linear("up", [ffnDim, modelDim]),
    down: linear("down", [modelDim, ffnDim]),
  };
}

function buildExperts(
  make: MakeWeight,
  path: string,
  {
    config: { modelDim, ffnDim: modelFfnDim },
    mlp: { hasBias, ffnDim = modelFfnDim },
    experts: { numExperts, hasRouterBias = false, routing, shared },
  }: { readonly config: DecoderConfig; readonly mlp: MlpConfig; readonly experts: ExpertsConfig },
): ExpertsWeights {
  const linear = (name: string, [out, into]: readonly [number, number]) => ({
    weight: make(`${path}.${name}.weight`, [numExperts, out, into], "matrix"),
    ...(hasBias ? { bias: make(`${path}.${name}.bias`, [numExperts, out]) } : {}),
  });
  return {
    router: buildLinear(make, `${path}.router`, { shape: [numExperts, modelDim], hasBias: hasRouterBias }),
    ...(routing.hasChoiceBias ? { choiceBias: make(`${path}.choiceBias`, [numExperts]) } : {}),
    gate: linear("gate", [ffnDim, modelDim]),
    up: linear("up", [ffnDim, modelDim]),
    down: linear("down", [modelDim, ffnDim]),
    ...(shared === undefined
      ? {}
      : {
          shared: buildMlp(make, `${path}.shared`, {
            kind: "gated",
            hasBias,
            modelDim,
            ffnDim: shared.ffnDim,
          }),
        }),
    ...(shared?.isGated
      ? { sharedGate: buildLinear(make, `${path}.sharedGate`, { shape: [1, modelDim], hasBias: false }) }
      : {}),
  };
}

/** A linear layer of a tree under construction. */
export function buildLinear(
  make: MakeWeight,
  path: string,
  { shape, hasBias }: { readonly shape: readonly number[]; readonly hasBias: boolean },
): LinearWeights {
  const weight = make(`${path}.weight`, shape, "matrix");
  return hasBias ? { weight, bias: make(`${path}.bias`, shape.slice(0, 1)) } : { weight };
}

/** A norm of a tree under construction, over `shape` features. */
export function buildNorm(
  { kind, learns = kind === "rms" ? "scale" : "both" }: NormConfig,
  make: MakeWeight,
  path: string,
  shape: number | readonly number[],
): NormWeights {
  const extents = typeof shape === "number" ? [shape] : shape;
  return {
    ...(learns === "none" ? {} : { weight: make(`${path}.weight`, extents) }),
    ...(learns === "both" ? { bias: make(`${path}.bias`, extents) } : {}),
  };
}
