import type { RopeScaling } from "@heddle/positional-encodings";

/** What every model has, whatever its architecture. */
export interface ModelConfig {
  /** Name of the family whose file names and weight names are used when the model is saved. */
  readonly family: string;
  readonly vocabSize: number;
  /** Longest sequence, in tokens. */
  readonly maxSeqLen: number;
  /** The output projection is the embedding table. */
  readonly tieEmbeddings: boolean;
  /** Standard deviation of fresh weights. */
  readonly initializerRange: number;
  readonly tokens: SpecialTokenIds;
}

export interface SpecialTokenIds {
  readonly bos?: number;
  /** Ids that end a text. */
  readonly eos: readonly number[];
  readonly pad?: number;
}

/** Nonlinearity of a feed-forward block. "gelu-tanh" is the tanh approximation of GPT-2. */
export type Activation = "silu" | "gelu" | "gelu-tanh" | "relu";

export interface NormConfig {
  readonly kind: "rms" | "layer";
  /** Added to the mean square or variance, unitless. */
  readonly eps: number;
  /** Added to stored weights: 1 where checkpoints hold weight - 1 (Gemma). Default 0; "rms" only. */
  readonly offset?: number;
  /** What it learns: scale and shift, the scale alone, or nothing. Default: scale for "rms", both for "layer". */
  readonly learns?: "both" | "scale" | "none";
}

/** How tokens learn their place. A closed union on `kind`. */
export type Positions =
  | RopePositions
  /** A learned vector per position, added at the input; the table begins `offset` rows (default 0) before position 0. */
  | { readonly kind: "learned"; readonly offset?: number }
  | AlibiPositions
  | { readonly kind: "none" };

/** Queries and keys turn by their position. */
export interface RopePositions {
  readonly kind: "rope";
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Features of a head that turn, the first ones. Default: all; with latent attention its `ropeDim`. */
  readonly rotaryDim?: number;
  /** Which features form a pair. Default "half". */
  readonly layout?: "half" | "interleaved";
}

/** Scores fall linearly with distance. */
export interface AlibiPositions {
  readonly kind: "alibi";
  /** Order of the slopes where the heads are no power of two. Default "paper". */
  readonly order?: "paper" | "mpt";
  /** Exponents of the slopes run to -maxBias. Default 8. */
  readonly maxBias?: number;
  /** Multiplies the slopes: Falcon scales scores after adding the bias. Default 1. */
  readonly scale?: number;
}

/** Low-rank queries and a low-rank cache of keys and values. @see DeepSeek-V2, arXiv:2405.04434, section 2.1 */
export interface LatentConfig {
  /** Absent: queries are projected at once. */
  readonly queryRank?: number;
  readonly kvRank: number;
  /** Features of a head that know their position; the keys' are shared by all heads. */
  readonly ropeDim: number;
  /** Features of a value. `headDim` is that of queries and keys. */
  readonly valueDim: number;
}

export interface AttentionConfig {
  /** Biases of the projections of queries, keys and values. */
  readonly hasBias: boolean;
  /** Bias of the projection of keys, which changes no weight of a softmax. Default: as `hasBias`. */
  readonly hasKeyBias?: boolean;
  /** Bias of the output projection. Default: as `hasBias`. */
  readonly hasOutputBias?: boolean;
  /** Multiplies the scores before the softmax. */
  readonly scale: number;
  /** Caps scaled scores at +-softcap by tanh. */
  readonly softcap?: number;
  /** Positions that a query sees, its own included. Absent: all before it. */
  readonly window?: number;
  /** One learned logit a head that takes weight but gives no value. */
  readonly hasSinks?: boolean;
  /** Projections are cut to +-clip. */
  readonly clip?: number;
  /** Norm of queries and keys before their rotation. */
  readonly queryKeyNorm?: QueryKeyNorm;
  readonly latent?: LatentConfig;
}

export interface QueryKeyNorm extends NormConfig {
  /** Over all heads at once, over each head with weights that heads share, or with weights of its own. */
  readonly over: "all" | "head" | "own";
}

export interface MlpConfig {
  /** "gated": down(activation(gate(x)) * up(x)); "plain": down(activation(up(x))); "experts": the chosen of many gated ones. */
  readonly kind: "gated" | "plain" | "experts";
  readonly activation: Activation;
  readonly hasBias: boolean;
  /** Width of this block. Default: the model's ffnDim. */
  readonly ffnDim?: number;
  /** Gated blocks of gpt-oss: gate at most `limit`, up within +-limit, (up + 1) gate sigmoid(alpha gate). */
  readonly clamp?: { readonly limit: number; readonly alpha: number };
  /** With kind "experts". */
  readonly experts?: ExpertsConfig;
}

/** A mixture of experts: who is chosen, and with what weight. */
export interface ExpertsConfig {
  readonly numExperts: number;
  /** Experts of each token. */
  readonly topK: number;
  readonly routing: Routing;
  /** The router's projection has a bias. */
  readonly hasRouterBias?: boolean;
  /** Each expert takes at most ceil(factor N K / X) of N tokens and drops the rest. Default: no limit. */
  readonly capacityFactor?: number;
  /** An expert that sees every token; `isGated`: its output is multiplied by sigmoid(gate x). */
  readonly shared?: { readonly ffnDim: number; readonly isGated: boolean };
}

export interface Routing {
  /**
   * What becomes of the router's logits: "softmax" over all experts, "sigmoid" of each, or "chosen": softmax over those
   * that were chosen by their logits.
   */
  readonly scores: "softmax" | "sigmoid" | "chosen";
  /** Weights of the chosen are divided by their sum. */
  readonly isNormalized: boolean;
  /** Multiplies the weights. Default 1. */
  readonly scale?: number;
  /** A learned bias of each expert that helps to choose and does not weigh. */
  readonly hasChoiceBias?: boolean;
  /** Experts come from the best `topK` of `count` groups; a group scores its best expert, or the sum of its best two. */
  readonly groups?: { readonly count: number; readonly topK: number; readonly score: "best" | "best-two" };
}

/** How the two blocks of a layer meet the residual stream. */
export interface ResidualConfig {
  /** "sequential": the second block sees the first one's result; "parallel": both see the layer's input. */
  readonly order: "sequential" | "parallel";
  /** Norms before each block ("pre"), on what it gives ("post"), on both sides, or on the sum with the stream ("sum"). */
  readonly norms: "pre" | "post" | "both" | "sum";
  /** Both blocks of a parallel layer see one norm. */
  readonly sharesNorm?: boolean;
  /** The first layer's attention sees its input as it is: the embeddings are normed already. */
  readonly skipsFirstNorm?: boolean;
  /** Multiplies what a block adds. Default 1. */
  readonly scale?: number;
  /** Multiplies what a block adds to. Default 1. */
  readonly streamScale?: number;
  /** What a block adds to is its normed input (BLOOM's option). */
  readonly addsToNorm?: boolean;
}

/** How a text shows what is to be filled in. @see Du et al. 2021, GLM, arXiv:2103.10360, section 2.1 */
export interface SpanConfig {
  /** Begins the span; the tokens before it are the context, who see each other. */
  readonly startId: number;
  /** Marks that a span can stand for, those to look for first at the front. */
  readonly markIds: readonly number[];
}

/** What may differ from layer to layer. */
export interface LayerConfig {
  readonly numKvHeads: number;
  readonly positions: Positions;
  readonly attention: AttentionConfig;
  readonly mlp: MlpConfig;
}

/**
 * What a decoder computes, apart from its weights: a frozen plain object, the same for every family.
 *
 * A family turns its `config.json` into this; blocks read only this and never ask which family it came from.
 */
export interface DecoderConfig extends ModelConfig, LayerConfig {
  readonly modelDim: number;
  readonly ffnDim: number;
  readonly numLayers: number;
  readonly numHeads: number;
  /** Features of a query and of a key. */
  readonly headDim: number;
  readonly norm: NormConfig;
  /** Default: sequential, norms before. */
  readonly residual?: ResidualConfig;
  /**
   * A prefix language model: tokens of a prompt see each other before and behind, what is generated sees all before it. `generate`
   * feeds prompts so; other calls are causal unless they are given `fullAttend({ mask: prefix(lengths) })`.
   */
  readonly isPrefixLm?: boolean;
  /**
   * A prefix language model whose prompts end in a span that stands for a mark of the context. Rotary positions are then two: the first
   * half of each head turns by the place in the context, the second by the place in the span.
   */
  readonly span?: SpanConfig;
  /** Where layers differ from the rest, by their number. */
  readonly layerOverrides?: readonly Partial<LayerConfig>[];
  /** What becomes of the embeddings before the first layer. */
  readonly embedding?: {
    /** Multiplies them. Default 1. */
    readonly scale?: number;
    readonly hasNorm?: boolean;
    /** Width of the table where it is not the model's; projections lead in and out. */
    readonly dim?: number;
  };
  /** What becomes of the last hidden states. */
  readonly head?: {
    /** Default true. */
    readonly hasNorm?: boolean;
    readonly hasBias?: boolean;
    /** Multiplies the logits. Default 1. */
    readonly scale?: number;
    /** Caps the logits at +-softcap by tanh, after the scale. */
    readonly softcap?: number;
  };
}

/** The configuration of one layer: the model's, with what is special to the layer. */
export function layerConfig(config: DecoderConfig, layer: number): LayerConfig {
  const { numKvHeads, positions, attention, mlp } = config;
  return { numKvHeads, positions, attention, mlp, ...config.layerOverrides?.[layer] };
}

/** Freezes a configuration with everything in it. */
export function freezeConfig<Config extends ModelConfig>(config: Config): Config {
  return deepFreeze(config);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
