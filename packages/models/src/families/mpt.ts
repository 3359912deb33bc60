import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

/** Keys that have an effect, and those that may only stand at the value that Heddle computes. */
const attentionSchema = z.looseObject({
  alibi: z.literal(true).default(true),
  alibi_bias_max: positive.default(8),
  attn_type: z.literal("multihead_attention").default("multihead_attention"),
  clip_qkv: positive.nullish(),
  prefix_lm: z.boolean().default(false),
  qk_ln: z.literal(false).default(false),
  softmax_scale: positive.nullish(),
});

const schema = z.object({
  vocab_size: count,
  d_model: count,
  n_layers: partCount,
  n_heads: partCount,
  max_seq_len: count.default(2048),
  attn_config: attentionSchema.default(attentionSchema.parse({})),
  layer_norm_epsilon: positive.default(1e-5),
  no_bias: z.literal(true).default(true),
  logit_scale: z.null().optional(),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * MPT: no positions but scores that fall with distance, no biases, not even in norms; the feed-forward is four times as wide.
 *
 * @see MosaicML 2023, MPT-7B
 */
export const mpt: Family<z.infer<typeof schema>> = {
  modelType: "mpt",
  className: "MptForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "emb_pdrop",
    "resid_pdrop",
    "embedding_fraction",
    "expansion_ratio",
    "init_config",
    "init_device",
    "learned_pos_emb",
    "norm_type",
    "tokenizer_name",
    "verbose",
  ],
  toConfig(json) {
    const headDim = headDimOf({ d_model: json.d_model, n_heads: json.n_heads });
    const { alibi_bias_max, clip_qkv, prefix_lm, softmax_scale } = json.attn_config;
    return {
      family: "mpt",
      vocabSize: json.vocab_size,
      modelDim: json.d_model,
      ffnDim: 4 * json.d_model,
      numLayers: json.n_layers,
      numHeads: json.n_heads,
      numKvHeads: json.n_heads,
      headDim,
      maxSeqLen: json.max_seq_len,
      norm: { kind: "layer", eps: json.layer_norm_epsilon, learns: "scale" },
      positions: { kind: "alibi", order: "mpt", maxBias: alibi_bias_max },
      mlp: { kind: "plain", activation: "gelu", hasBias: false },
      attention: {
        hasBias: false,
        scale: softmax_scale ?? headDim ** -0.5,
        ...(clip_qkv ? { clip: clip_qkv } : {}),
      },
      ...(prefix_lm ? { isPrefixLm: true } : {}),
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson: ({ attention, positions, headDim, ...config }) => ({
    vocab_size: config.vocabSize,
    d_model: config.modelDim,
    n_layers: config.numLayers,
    n_heads: config.numHeads,
    max_seq_len: config.maxSeqLen,
    attn_config: {
      alibi: true,
      alibi_bias_max: positions.kind === "alibi" ? (positions.maxBias ?? 8) : 8,
      clip_qkv: attention.clip ?? null,
      prefix_lm: config.isPrefixLm ?? false,
      softmax_scale: attention.scale === headDim ** -0.5 ? null : attention.scale,
    },
    layer_norm_epsilon: config.norm.eps,
    no_bias: true,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "transformer.wte.weight"),
      ...norms("layers.*", "transformer.blocks.*", { attentionNorm: "norm_1", mlpNorm: "norm_2" }),
      ...linears("layers.*.attention", "transformer.blocks.*.attn", {
        "query key value": "Wqkv",
        output: "out_proj",
      }),
      ...linears("layers.*.mlp", "transformer.blocks.*.ffn", { up: "up_proj", down: "down_proj" }),
      one("norm.weight", "transformer.norm_f.weight"),
      one("unembedding", "lm_head.weight"),
    ],
  }),
};
