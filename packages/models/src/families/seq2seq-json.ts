import type { DecoderConfig, ModelConfig } from "../config.js";

/** Keys without an effect at inference. */
export const inertSeq2SeqKeys = [
  "activation_dropout",
  "attention_dropout",
  "classif_dropout",
  "classifier_dropout",
  "decoder_layerdrop",
  "dropout",
  "encoder_layerdrop",
  "gradient_checkpointing",
  "is_decoder",
  "is_encoder_decoder",
  "num_hidden_layers",
];

/** What the stacks of a model share. */
export type StackBase = Pick<DecoderConfig, "norm" | "residual" | "mlp" | "attention"> & {
  readonly modelDim: number;
};

/** One stack of layers as the blocks of decoders take it. */
export function stackConfig(
  model: ModelConfig,
  base: StackBase,
  sizes: Pick<DecoderConfig, "numLayers" | "numHeads" | "ffnDim" | "headDim" | "maxSeqLen">,
): DecoderConfig {
  return { ...model, ...base, ...sizes, numKvHeads: sizes.numHeads, positions: { kind: "none" } };
}
