import type { Activation, DecoderConfig } from "../config.js";

/** What is made of the last hidden states. A closed union on `kind`. */
export type Predictions =
  /** Nothing: hidden states and sentence embeddings only. */
  { readonly kind: "none" } | TokenPredictions | ClassPredictions;

/** The token at each place: a transform, then the embedding table and a bias. */
export interface TokenPredictions {
  readonly kind: "tokens";
  readonly activation: Activation;
  /** The transform has a bias. */
  readonly hasBias: boolean;
  /** Each token of the vocabulary has a bias. */
  readonly hasTokenBias: boolean;
}

/** One class for a whole text, or for each of its tokens. */
export interface ClassPredictions {
  readonly kind: "classes";
  readonly numClasses: number;
  /** Names of the classes. Default: LABEL_0 and so on. */
  readonly labels?: readonly string[];
  /**
   * What becomes of the logits: probabilities of classes that exclude each other ("softmax") or do not ("sigmoid"), or nothing, for
   * regression. Default: "softmax", for one class "sigmoid".
   */
  readonly scores?: "softmax" | "sigmoid" | "none";
  /** What represents the text: its first token, the mean of its tokens, or each token by itself. */
  readonly of: "first" | "mean" | "tokens";
  /** A transform before the classes; absent: none. */
  readonly transform?: {
    readonly activation: Activation | "tanh";
    readonly hasBias: boolean;
    readonly hasNorm: boolean;
  };
  readonly hasBias: boolean;
}

/** Scores between contents and distances. @see He et al. 2020, DeBERTa, arXiv:2006.03654 */
export interface DisentangledConfig {
  /** Half the number of rows of the table of distances. */
  readonly span: number;
  /** Distances beyond span / 2 share logarithmic buckets up to this many tokens. Absent: one row each. */
  readonly maxDistance?: number;
  /** Contents against positions, positions against contents. */
  readonly terms: readonly ("content-to-position" | "position-to-content")[];
  /** Distances are projected by the weights of keys and queries, or by weights of their own. */
  readonly projections: "shared" | "own";
  /** Own projections to keys have a bias; those to queries always do. */
  readonly hasKeyBias: boolean;
  /** The table of distances is normed before its projection. */
  readonly hasNorm: boolean;
}

/**
 * What an encoder computes, apart from its weights: a stack of layers as a decoder has it, in which every token sees every other.
 */
export interface EncoderConfig extends DecoderConfig {
  readonly inputs: {
    /** Kinds of parts that an input may have (first and second text); 0: parts are not told apart. */
    readonly numTypes: number;
    /**
     * Learned positions: none, those of the places in a row, or RoBERTa's: `padId` + 1 for the first token that is not the padding
     * token, and so on.
     */
    readonly positions: "none" | "places" | "counted";
    /** Width of the tables where it is not the model's; a projection follows. */
    readonly dim?: number;
  };
  readonly disentangled?: DisentangledConfig;
  /** Layers share so many sets of weights, each for a run of layers (ALBERT). Default: each has its own. */
  readonly numLayerSets?: number;
  /** A norm after the last layer. */
  readonly hasLastNorm: boolean;
  readonly predictions: Predictions;
}
