import type { DecoderConfig, ModelConfig } from "../config.js";

/** How the tokens of a stack learn their place. A closed union on `kind`. */
export type StackPositions =
  /** A learned (or stored) vector per place, added at the input; the table begins `offset` rows before place 0. */
  | { readonly kind: "learned"; readonly offset: number }
  /** Scores get a learned number for the bucket of the distance, the same in every layer. */
  | { readonly kind: "buckets"; readonly numBuckets: number; readonly maxDistance: number };

/** What an encoder-decoder computes, apart from its weights: two stacks of layers and how they meet. */
export interface Seq2SeqConfig extends ModelConfig {
  readonly modelDim: number;
  /** Layers of the encoder, in which every place sees every other. Its `maxSeqLen` counts places after the convolutions. */
  readonly encoder: DecoderConfig;
  /** Layers of the decoder: each has attention to the encoder's states after its own. */
  readonly decoder: DecoderConfig;
  /** What the encoder reads: token ids, or frames of `numBins` numbers that two convolutions halve in number (Whisper). */
  readonly source: { readonly kind: "tokens" } | { readonly kind: "frames"; readonly numBins: number };
  readonly positions: StackPositions;
  readonly embedding: {
    /** Multiplies embeddings. Default 1. */
    readonly scale?: number;
    /** Embeddings with their positions are normed, in both stacks. */
    readonly hasNorm: boolean;
  };
  /** A norm after the last layer of each stack. */
  readonly hasLastNorm: boolean;
  readonly head: {
    /** Multiplies the last hidden states. Default 1. */
    readonly scale?: number;
    /** Each token of the vocabulary has a bias. */
    readonly hasBias: boolean;
  };
  /** The id with which the decoder begins. */
  readonly startId: number;
}
