import type { SampledToken } from "../generation/sampling/sampler.js";
import type { TokenChoice } from "./choose-tokens.js";
import type { DecodeAheadOptions } from "./decode-ahead.js";
import type { DecoderBatch } from "./decoder-batch.js";

/**
 * A model with a key-value cache, fed tokens in batches of any mixture of sequences.
 *
 * A slot is reused by starting again at position 0. Calls of `step` must not overlap.
 */
export interface Decoder {
  readonly numSlots: number;
  readonly maxSeqLen: number;
  readonly vocabSize: number;
  /** Memory of keys and values, in bytes. */
  readonly cacheBytes: number;
  /** Whether `choose` and `ahead` take truncations: where they have no kernel, a host cuts faster. Default false. */
  readonly truncates?: boolean;
  /** Feeds tokens and gives the logits [V] of each row in `outputs`, in that order. */
  step(batch: DecoderBatch): Promise<Float32Array[]>;
  /** As `step`, with the last hidden states beside the logits: what contrastive search compares. Absent where there are none. */
  states?(batch: DecoderBatch): Promise<TokenState[]>;
  /**
   * Feeds a whole prompt into a slot and gives the logits [V] after its last token. Present for prefix language models only, whose
   * prompts' tokens see each other before and behind; steps go on from there.
   */
  feedPrefix?(tokens: ArrayLike<number>, slot: number): Promise<Float32Array>;
  /**
   * As `step`, but chooses the token after each output that has a choice where the logits are, so that they need not be read
   * back: a token for these, logits for the others, and for a token whose logits are not numbers. Absent where tokens are
   * chosen on the host alone.
   * @throws HeddleError "config" unless there is a choice, or undefined, for each output, and a draw for each temperature above 0
   */
  choose?(
    batch: DecoderBatch,
    choices: readonly (TokenChoice | undefined)[],
  ): Promise<(SampledToken | Float32Array)[]>;
  /**
   * Goes on with one sequence without the host: tokens are chosen on the device and come back some steps later, so that it
   * never waits; where the host's own thread computes, a step runs for each token that is asked for. No step may run until the
   * generator has ended.
   * @throws HeddleError as `step`, and "dtype" for logits that are not numbers
   */
  ahead?(options: DecodeAheadOptions): AsyncGenerator<SampledToken, void, undefined>;
  /**
   * Makes slot i continue what slot `sources[i]` holds, for all slots at once; beam search needs it. Absent where sequences
   * cannot be copied.
   */
  reorderSlots?(sources: Int32Array): void;
  /** Frees cache and plans; the weights stay. */
  dispose(): void;
}

/** What a model makes of a token. */
export interface TokenState {
  /** [V] */
  readonly logits: Float32Array;
  /** After the last norm, [E]. */
  readonly hidden: Float32Array;
}
