import { z } from "zod";
import type { DecoderConfig, ModelConfig } from "../config.js";
import type { WeightRule } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys } from "./token-json.js";

/** Keys of BART and the encoder-decoders made after it. */
export const bartKeys = {
  vocab_size: count,
  d_model: count,
  encoder_layers: partCount,
  encoder_attention_heads: partCount,
  encoder_ffn_dim: count,
  decoder_layers: partCount,
  decoder_attention_heads: partCount,
  decoder_ffn_dim: count,
  scale_embedding: z.boolean().default(false),
  init_std: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
};

type BartJson = z.infer<z.ZodObject<typeof bartKeys>>;

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

/** Both stacks of a model with BART's keys; scores are divided by the root of the head's width. */
export function bartStacks(
  model: ModelConfig,
  json: BartJson,
  {
    base,
    sourceLen,
    targetLen,
  }: {
    readonly base: Omit<StackBase, "attention" | "modelDim">;
    readonly sourceLen: number;
    readonly targetLen: number;
  },
  hasKeyBias: boolean,
): { readonly encoder: DecoderConfig; readonly decoder: DecoderConfig } {
  const stack = (side: "encoder" | "decoder", maxSeqLen: number) => {
    const numHeads = json[`${side}_attention_heads`];
    const headDim = headDimOf({ d_model: json.d_model, [`${side}_attention_heads`]: numHeads });
    const attention = { hasBias: true, hasKeyBias, scale: headDim ** -0.5 };
    return stackConfig(
      model,
      { ...base, attention, modelDim: json.d_model },
      { numLayers: json[`${side}_layers`], numHeads, ffnDim: json[`${side}_ffn_dim`], headDim, maxSeqLen },
    );
  };
  return { encoder: stack("encoder", sourceLen), decoder: stack("decoder", targetLen) };
}

/** The sizes of both stacks under BART's keys. */
export function bartSizesToJson(encoder: DecoderConfig, decoder: DecoderConfig): Record<string, unknown> {
  return {
    d_model: encoder.modelDim,
    encoder_layers: encoder.numLayers,
    encoder_attention_heads: encoder.numHeads,
    encoder_ffn_dim: encoder.ffnDim,
    decoder_layers: decoder.numLayers,
    decoder_attention_heads: decoder.numHeads,
    decoder_ffn_dim: decoder.ffnDim,
  };
}

/** Rules for both stacks with BART's names. */
export function bartStackRules(): WeightRule[] {
  const projections = { query: "q_proj", key: "k_proj", value: "v_proj", output: "out_proj" };
  return ["encoder", "decoder"].flatMap((side) => {
    const at = `model.${side}`;
    return [
      one(`${side}.positionEmbedding`, `${at}.embed_positions.weight`),
      ...norms(side, at, { embeddingNorm: "layernorm_embedding", norm: "layer_norm" }),
      ...linears(`${side}.layers.*.attention`, `${at}.layers.*.self_attn`, projections),
      ...linears(`${side}.layers.*.cross`, `${at}.layers.*.encoder_attn`, projections),
      ...norms(`${side}.layers.*`, `${at}.layers.*`, {
        attentionNorm: "self_attn_layer_norm",
        crossNorm: "encoder_attn_layer_norm",
        mlpNorm: "final_layer_norm",
      }),
      ...linears(`${side}.layers.*.mlp`, `${at}.layers.*`, { up: "fc1", down: "fc2" }),
    ];
  });
}
