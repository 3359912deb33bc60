import { z } from "zod";
import type { PermutationConfig } from "../permutation/config.js";
import { permutation } from "../permutation/permutation-architecture.js";
import type { PermutationWeights } from "../permutation/weights.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { unboundedSeqLen } from "./recurrent-json.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  d_model: count,
  d_inner: count,
  d_head: count.nullish(),
  n_layer: partCount,
  n_head: partCount,
  ff_activation: z.enum(activationNames).default("gelu"),
  layer_norm_eps: positive.default(1e-12),
  mem_len: z.number().int().min(0).nullish(),
  clamp_len: z.number().int().default(-1),
  attn_type: z.literal("bi").default("bi"),
  reuse_len: z.literal(0).nullish(),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * XLNet: a language model over permutations of a text.
 *
 * @see Yang et al. 2019, XLNet, arXiv:1906.08237
 */
export const xlnet: Family<z.infer<typeof schema>, PermutationConfig, PermutationWeights> = {
  modelType: "xlnet",
  className: "XLNetLMHeadModel",
  architecture: permutation,
  schema,
  inertKeys: [
    "dropout",
    "end_n_top",
    "start_n_top",
    "summary_activation",
    "summary_last_dropout",
    "summary_type",
    "summary_use_proj",
    "untie_r",
    "use_mems_eval",
    "use_mems_train",
  ],
  toConfig: (json) => ({
    family: "xlnet",
    vocabSize: json.vocab_size,
    maxSeqLen: unboundedSeqLen,
    modelDim: json.d_model,
    ffnDim: json.d_inner,
    numLayers: json.n_layer,
    numHeads: json.n_head,
    headDim: json.d_head ?? headDimOf({ d_model: json.d_model, n_head: json.n_head }),
    norm: { kind: "layer", eps: json.layer_norm_eps },
    activation: activationOf(json.ff_activation),
    memoryLen: json.mem_len ?? 0,
    ...(json.clamp_len > 0 ? { maxDistance: json.clamp_len } : {}),
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.initializer_range,
    tokens: tokensFromJson(json),
  }),
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    d_model: config.modelDim,
    d_inner: config.ffnDim,
    d_head: config.headDim,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    ff_activation: nameOfActivation(config.activation),
    layer_norm_eps: config.norm.eps,
    mem_len: config.memoryLen,
    clamp_len: config.maxDistance ?? -1,
    attn_type: "bi",
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "transformer.word_embedding.weight"),
      one("maskEmbedding", "transformer.mask_emb"),
      ...Object.entries({
        query: "q",
        key: "k",
        value: "v",
        output: "o",
        distance: "r",
        contentBias: "r_w_bias",
        positionBias: "r_r_bias",
        segmentBias: "r_s_bias",
        segmentEmbedding: "seg_embed",
      }).map(([ours, theirs]) => one(`layers.*.attention.${ours}`, `transformer.layer.*.rel_attn.${theirs}`)),
      ...norms("layers.*", "transformer.layer.*", {
        attentionNorm: "rel_attn.layer_norm",
        mlpNorm: "ff.layer_norm",
      }),
      ...linears("layers.*", "transformer.layer.*.ff", { up: "layer_1", down: "layer_2" }),
      one("unembedding", "lm_loss.weight"),
      one("unembeddingBias", "lm_loss.bias"),
    ],
  }),
};
