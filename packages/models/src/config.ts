import type { RopeScaling } from "@heddle/positional-encodings";

/** Nonlinearity of a feed-forward block. "gelu-tanh" is the tanh approximation of GPT-2. */
export type Activation = "silu" | "gelu" | "gelu-tanh" | "relu";

/** How tokens learn their place: rotation of queries and keys, or a learned vector per position added at the input. */
export type Positions =
  | { readonly kind: "rope"; readonly theta: number; readonly scaling: RopeScaling }
  | { readonly kind: "learned" };

/**
 * What a decoder computes, apart from its weights: a frozen plain object, the same for every family.
 *
 * A family turns its `config.json` into this; blocks read only this and never ask which family it came from.
 */
export interface DecoderConfig {
  /** Name of the family whose file names and weight names are used when the model is saved. */
  readonly family: string;
  readonly vocabSize: number;
  readonly modelDim: number;
  readonly ffnDim: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Longest sequence, in tokens. */
  readonly maxSeqLen: number;
  readonly norm: { readonly kind: "rms" | "layer"; readonly eps: number };
  readonly positions: Positions;
  /** "gated": down(activation(gate(x)) * up(x)); "plain": down(activation(up(x))). */
  readonly mlp: {
    readonly kind: "gated" | "plain";
    readonly activation: Activation;
    readonly hasBias: boolean;
  };
  /** `scale` multiplies the scores before the softmax. */
  readonly attention: { readonly hasBias: boolean; readonly scale: number };
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

/** Freezes a configuration with everything in it. */
export function freezeConfig(config: DecoderConfig): DecoderConfig {
  return deepFreeze(config);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
