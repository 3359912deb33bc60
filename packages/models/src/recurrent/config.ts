import type { Activation, ModelConfig, NormConfig } from "../config.js";

/** How a layer carries the past along in a state of fixed size. A closed union on `kind`. */
export type Mixer = SelectiveMixer | GroupedSelectiveMixer | WkvMixer | RetentionMixer;

/** Mamba: a selective state space whose step sizes, reads and writes come from the token. */
export interface SelectiveMixer {
  readonly kind: "selective";
  /** Channels of the state space, I. */
  readonly innerDim: number;
  /** Numbers of state a channel, N. */
  readonly stateDim: number;
  /** Taps of the convolution before the scan, K. */
  readonly convDim: number;
  /** Width of what step sizes are made of. */
  readonly stepRank: number;
  readonly hasBias: boolean;
  readonly hasConvBias: boolean;
}

/** Mamba-2: heads of channels that fade as one, and groups of heads that share reads and writes. */
export interface GroupedSelectiveMixer {
  readonly kind: "grouped-selective";
  readonly innerDim: number;
  readonly stateDim: number;
  readonly convDim: number;
  readonly numHeads: number;
  readonly numGroups: number;
  /** Step sizes are cut to this range. */
  readonly stepLimits: readonly [number, number];
  readonly hasBias: boolean;
  readonly hasConvBias: boolean;
}

/** RWKV-4: an average of values that fade with age, and a feed-forward block that sees the token before. */
export interface WkvMixer {
  readonly kind: "wkv";
  readonly innerDim: number;
  readonly ffnDim: number;
}

/** RetNet: attention without softmax whose scores fade with distance, and a gated feed-forward block. */
export interface RetentionMixer {
  readonly kind: "retention";
  readonly numHeads: number;
  /** Features of a value of one head. */
  readonly valueDim: number;
  readonly ffnDim: number;
  readonly activation: Activation;
}

/** What a recurrent language model computes, apart from its weights. Memory of a text does not grow with its length. */
export interface RecurrentConfig extends ModelConfig {
  readonly modelDim: number;
  readonly numLayers: number;
  readonly norm: NormConfig;
  /** Embeddings are multiplied by `scale` (default 1), then normed where `hasNorm`. */
  readonly embedding?: { readonly scale?: number; readonly hasNorm: boolean };
  readonly mixer: Mixer;
}
