import type { Device, Tensor } from "@heddle/tensor";
import type { ModelConfig } from "./config.js";
import type { Decoder } from "./decoder/decoder-interface.js";
import type { Activations, Inspection } from "./inspection/inspect.js";
import type { MakeWeight } from "./weights.js";

/** A model's parts that computing needs. */
export interface ModelParts<Config extends ModelConfig = ModelConfig, Weights = unknown> {
  readonly config: Config;
  readonly weights: Weights;
  readonly device: Device;
}

/** Numbers on the host, row by row. */
export interface HostArray {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Token ids on the host, rows of one length each; what every architecture can be asked for logits with. */
export interface TokenRows {
  /** No rows for a model that listens. */
  readonly ids: readonly ArrayLike<number>[];
  /** What a model that listens hears, [B, numBins, T], such as `logMel` makes. */
  readonly frames?: HostArray;
  /** 1 for tokens, 0 for padding. Default: no padding. */
  readonly attentionMask?: readonly ArrayLike<number>[];
  /** Which part of the input a token belongs to, for encoders that tell parts apart. */
  readonly tokenTypeIds?: readonly ArrayLike<number>[];
  /** What the decoder of an encoder-decoder has seen so far, and its mask. */
  readonly decoderIds?: readonly ArrayLike<number>[];
  readonly decoderAttentionMask?: readonly ArrayLike<number>[];
  /** Not 0 where token i may not see token j, [B, T, T], and 1 at the place of each prediction, [B, M, T]: permutation models. */
  readonly hidden?: HostArray;
  readonly targets?: HostArray;
}

/** A decoder under way: what `generate` feeds first and where it goes on. */
export interface StartedDecoder {
  readonly decoder: Decoder;
  /** Ids to feed before the first new token: the prompt, or the start token of an encoder-decoder. */
  readonly ids: Int32Array;
}

/** What computing a token costs; what an architecture does not tell is absent. */
export interface ModelCosts {
  /** Parameters that take part in computing one token: fewer than all where experts are chosen. */
  readonly activeParameters?: number;
  /** Floating-point operations of the weights for one token: two for each weight of a matrix. */
  readonly flopsPerToken?: number;
  /** Operations of attention for one token and each position that it sees. */
  readonly attentionFlopsPerPosition?: number;
  /** Memory of keys and values for one token in all layers, in bytes, kept as f16. */
  readonly kvBytesPerToken?: number;
}

/**
 * A kind of model: how its tree of weights is built from a configuration, and what runs it. Families name theirs; loading,
 * saving and the commands know this interface only.
 */
export interface Architecture<Config extends ModelConfig = ModelConfig, Weights = unknown, Inputs = never> {
  /** Such as "decoder". */
  readonly name: string;
  /** Builds the tree that a configuration calls for, asking `make` for every leaf. */
  buildWeights(config: Config, make: MakeWeight): Weights;
  /** Logits of inputs on the device. Borrows everything; the caller disposes the logits. */
  forward(model: ModelParts<Config, Weights>, inputs: Inputs): Tensor;
  /** Logits of token rows on the host. @throws HeddleError "config" or "shape" for rows that the model cannot take */
  logits(model: ModelParts<Config, Weights>, rows: TokenRows): Tensor;
  /** Last hidden states of token rows on the host, [B, T, E]: what vectors of texts are made of. Absent where there are none. */
  hidden?(model: ModelParts<Config, Weights>, rows: TokenRows): Tensor;
  /** What `inspectModel` does. Absent where there is no one stack of layers. */
  inspect?(model: ModelParts<Config, Weights>, rows: TokenRows, inspection: Inspection): Activations;
  /** Makes what `generate` drives. Absent where the architecture generates no text. */
  start?(
    model: ModelParts<Config, Weights>,
    promptIds: Int32Array,
    options: {
      readonly maxTokens: number;
      /** Sequences that continue the prompt at once, for beam search. Default 1. */
      readonly numSlots?: number;
      /** What a model that listens hears, [1, numBins, T]; the prompt is then what its decoder begins with. */
      readonly frames?: HostArray;
    },
  ): Promise<StartedDecoder>;
  /** What a token costs, from the configuration and the shape of every weight by its path. */
  costs?(config: Config, shapes: ReadonlyMap<string, readonly number[]>): ModelCosts;
  /** Most tokens that can follow a prompt of this length; at most `config.maxSeqLen - length` where it is absent. */
  roomAfter?(config: Config, promptLength: number): number;
}
