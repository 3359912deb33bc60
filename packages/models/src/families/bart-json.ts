import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { WeightRule } from "./family.js";
import { linears, norms, one } from "./names.js";
import { stackConfig } from "./seq2seq-json.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

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
  activation_function: z.enum(activationNames).default("gelu"),
  decoder_start_token_id: z.number().int().min(0).default(2),
  scale_embedding: z.boolean().default(false),
  init_std: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
};

type BartJson = z.infer<z.ZodObject<typeof bartKeys>>;

/** In what BART and the models made after it differ. */
export interface BartForm extends Pick<Seq2SeqConfig, "source" | "positions" | "hasLastNorm" | "head"> {
  readonly family: string;
  readonly norms: "sum" | "pre";
  readonly hasEmbeddingNorm: boolean;
  readonly hasKeyBias: boolean;
  /** Places that the encoder and the decoder have positions for. */
  readonly sourceLen: number;
  readonly targetLen: number;
}

/** The configuration of a model with BART's keys; scores are divided by the root of the head's width. */
export function bartConfig(json: BartJson, form: BartForm): Seq2SeqConfig {
  const { family, norms: place, hasEmbeddingNorm, hasKeyBias, sourceLen, targetLen, ...own } = form;
  const model = {
    family,
    vocabSize: json.vocab_size,
    maxSeqLen: targetLen,
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.init_std,
    tokens: tokensFromJson(json),
  };
  const stack = (side: "encoder" | "decoder", maxSeqLen: number) => {
    const numHeads = json[`${side}_attention_heads`];
    const headDim = headDimOf({ d_model: json.d_model, [`${side}_attention_heads`]: numHeads });
    return stackConfig(
      model,
      {
        norm: { kind: "layer", eps: 1e-5 },
        residual: { order: "sequential", norms: place },
        mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
        attention: { hasBias: true, hasKeyBias, scale: headDim ** -0.5 },
        modelDim: json.d_model,
      },
      { numLayers: json[`${side}_layers`], numHeads, ffnDim: json[`${side}_ffn_dim`], headDim, maxSeqLen },
    );
  };
  return {
    ...model,
    ...own,
    modelDim: json.d_model,
    encoder: stack("encoder", sourceLen),
    decoder: stack("decoder", targetLen),
    embedding: { hasNorm: hasEmbeddingNorm, ...(json.scale_embedding ? { scale: json.d_model ** 0.5 } : {}) },
    startId: json.decoder_start_token_id,
  };
}

/** The inverse, under `bartKeys`. */
export function bartToJson({ encoder, decoder, ...config }: Seq2SeqConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    d_model: config.modelDim,
    ...sizesOf("encoder", encoder),
    ...sizesOf("decoder", decoder),
    activation_function: nameOfActivation(encoder.mlp.activation),
    scale_embedding: config.embedding.scale !== undefined,
    decoder_start_token_id: config.startId,
    is_encoder_decoder: true,
    init_std: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  };
}

function sizesOf(side: string, { numLayers, numHeads, ffnDim }: DecoderConfig): Record<string, number> {
  return {
    [`${side}_layers`]: numLayers,
    [`${side}_attention_heads`]: numHeads,
    [`${side}_ffn_dim`]: ffnDim,
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
