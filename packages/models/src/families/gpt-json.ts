import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

/** Sizes as GPT-2's config.json calls them. */
export const gptKeys = {
  vocab_size: count,
  n_embd: count,
  n_layer: partCount,
  n_head: partCount,
  n_inner: count.nullish(),
  n_positions: count.default(1024),
  activation_function: z.enum(activationNames).default("gelu_new"),
  layer_norm_epsilon: positive.default(1e-5),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
};

/** Keys of heads for classification, which such files hold too. */
export const summaryKeys = [
  "summary_activation",
  "summary_first_dropout",
  "summary_proj_to_labels",
  "summary_type",
  "summary_use_proj",
] as const;

/** Sizes, layer norms and a plain feed-forward with biases. */
export function gptFromJson(json: z.infer<z.ZodObject<typeof gptKeys>>) {
  return {
    vocabSize: json.vocab_size,
    modelDim: json.n_embd,
    ffnDim: json.n_inner ?? 4 * json.n_embd,
    numLayers: json.n_layer,
    numHeads: json.n_head,
    numKvHeads: json.n_head,
    headDim: headDimOf({ n_embd: json.n_embd, n_head: json.n_head }),
    maxSeqLen: json.n_positions,
    norm: { kind: "layer", eps: json.layer_norm_epsilon },
    mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.initializer_range,
    tokens: tokensFromJson(json),
  } as const;
}

/** The inverse. */
export function gptToJson(config: DecoderConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    n_embd: config.modelDim,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    n_inner: config.ffnDim,
    n_positions: config.maxSeqLen,
    activation_function: nameOfActivation(config.mlp.activation),
    layer_norm_epsilon: config.norm.eps,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  };
}

/** Weights outside of the layers, as GPT-2 and those after it call them. */
export const gptNames = {
  embedding: one("embedding", "transformer.wte.weight"),
  positions: one("positionEmbedding", "transformer.wpe.weight"),
  last: [
    one("norm.weight", "transformer.ln_f.weight"),
    one("norm.bias", "transformer.ln_f.bias"),
    one("unembedding", "lm_head.weight"),
  ],
};
