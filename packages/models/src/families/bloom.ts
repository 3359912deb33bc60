import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  hidden_size: count.optional(),
  n_embed: count.optional(),
  n_layer: partCount.optional(),
  num_hidden_layers: partCount.optional(),
  n_head: partCount.optional(),
  num_attention_heads: partCount.optional(),
  /** Of the training; positions themselves have no limit. */
  seq_length: count.default(2048),
  layer_norm_epsilon: positive.default(1e-5),
  apply_residual_connection_post_layernorm: z.boolean().default(false),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * BLOOM, and BloombergGPT's shape: no positions but scores that fall with distance, a norm on the embeddings.
 *
 * @see BigScience 2022, arXiv:2211.05100; Wu et al. 2023 (BloombergGPT), arXiv:2303.17564, table 4
 */
export const bloom: Family<z.infer<typeof schema>> = {
  modelType: "bloom",
  className: "BloomForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "hidden_dropout",
    "pretraining_tp",
    "slow_but_exact",
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "masked_softmax_fusion",
    "offset_alibi",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "unk_token_id",
    "n_inner",
  ],
  toConfig(json) {
    const hidden_size = json.hidden_size ?? json.n_embed ?? 64;
    const n_head = json.n_head ?? json.num_attention_heads ?? 8;
    const headDim = headDimOf({ hidden_size, n_head });
    return {
      family: "bloom",
      vocabSize: json.vocab_size,
      modelDim: hidden_size,
      ffnDim: 4 * hidden_size,
      numLayers: json.n_layer ?? json.num_hidden_layers ?? 2,
      numHeads: n_head,
      numKvHeads: n_head,
      headDim,
      maxSeqLen: json.seq_length,
      norm: { kind: "layer", eps: json.layer_norm_epsilon },
      positions: { kind: "alibi" },
      ...(json.apply_residual_connection_post_layernorm
        ? { residual: { order: "sequential", norms: "pre", addsToNorm: true } }
        : {}),
      mlp: { kind: "plain", activation: "gelu-tanh", hasBias: true },
      attention: { hasBias: true, scale: headDim ** -0.5 },
      embedding: { hasNorm: true },
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    seq_length: config.maxSeqLen,
    layer_norm_epsilon: config.norm.eps,
    apply_residual_connection_post_layernorm: config.residual?.addsToNorm ?? false,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: ({ numHeads }) => ({
    rules: [
      one("embedding", "transformer.word_embeddings.weight"),
      one("embeddingNorm.weight", "transformer.word_embeddings_layernorm.weight"),
      one("embeddingNorm.bias", "transformer.word_embeddings_layernorm.bias"),
      ...norms("layers.*", "transformer.h.*", {
        attentionNorm: "input_layernorm",
        mlpNorm: "post_attention_layernorm",
      }),
      ...linears(
        "layers.*.attention",
        "transformer.h.*.self_attention",
        { "query key value": "query_key_value" },
        { groups: numHeads },
      ),
      ...linears("layers.*.attention", "transformer.h.*.self_attention", { output: "dense" }),
      ...linears("layers.*.mlp", "transformer.h.*.mlp", { up: "dense_h_to_4h", down: "dense_4h_to_h" }),
      one("norm.weight", "transformer.ln_f.weight"),
      one("norm.bias", "transformer.ln_f.bias"),
      one("unembedding", "lm_head.weight"),
    ],
    optionalPrefix: "transformer.",
  }),
};
