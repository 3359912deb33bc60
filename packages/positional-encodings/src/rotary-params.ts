/** Which features form a pair: (i, i + R/2) as Llama and GPT-NeoX, or (2i, 2i + 1) as the paper and GPT-J. */
export type RotaryLayout = "half" | "interleaved";

/** What the rotary op needs beside its tensors; plain data. */
export interface RotaryParams {
  /** Radians per token of each pair. */
  readonly inverseFrequencies: readonly number[];
  /** Multiplies cos and sin. */
  readonly attentionScale: number;
  readonly layout: RotaryLayout;
  /** Turns the other way: the gradient. */
  readonly isInverse: boolean;
}
