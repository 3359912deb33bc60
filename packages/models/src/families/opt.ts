import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  hidden_size: count,
  ffn_dim: count,
  num_hidden_layers: partCount,
  num_attention_heads: partCount,
  max_position_embeddings: count.default(2048),
  word_embed_proj_dim: count.nullish(),
  do_layer_norm_before: z.boolean().default(true),
  _remove_final_layer_norm: z.boolean().default(false),
  activation_function: z.enum(activationNames).default("relu"),
  enable_bias: z.boolean().default(true),
  layer_norm_elementwise_affine: z.boolean().default(true),
  init_std: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * OPT: GPT-2 with relu and positions that begin at row 2 of their table; the 350M model has its norms after each sum and a
 * narrower embedding.
 *
 * @see Zhang et al. 2022, arXiv:2205.01068
 */
export const opt: Family<z.infer<typeof schema>> = {
  modelType: "opt",
  className: "OPTForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["dropout", "attention_dropout", "activation_dropout", "layerdrop", "use_bfloat16"],
  toConfig(json) {
    const { num_attention_heads, hidden_size, word_embed_proj_dim } = json;
    const headDim = headDimOf({ hidden_size, num_attention_heads });
    const isBefore = json.do_layer_norm_before;
    return {
      family: "opt",
      vocabSize: json.vocab_size,
      modelDim: hidden_size,
      ffnDim: json.ffn_dim,
      numLayers: json.num_hidden_layers,
      numHeads: num_attention_heads,
      numKvHeads: num_attention_heads,
      headDim,
      maxSeqLen: json.max_position_embeddings,
      norm: { kind: "layer", eps: 1e-5, ...(json.layer_norm_elementwise_affine ? {} : { learns: "none" }) },
      positions: { kind: "learned", offset: 2 },
      ...(isBefore ? {} : { residual: { order: "sequential", norms: "sum" } }),
      ...(isBefore && !json._remove_final_layer_norm ? {} : { head: { hasNorm: false } }),
      ...(word_embed_proj_dim && word_embed_proj_dim !== hidden_size
        ? { embedding: { dim: word_embed_proj_dim } }
        : {}),
      mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: json.enable_bias },
      attention: { hasBias: json.enable_bias, scale: headDim ** -0.5 },
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.init_std,
      tokens: tokensFromJson(json),
    };
  },
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    ffn_dim: config.ffnDim,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    max_position_embeddings: config.maxSeqLen,
    word_embed_proj_dim: config.embedding?.dim ?? config.modelDim,
    do_layer_norm_before: config.residual?.norms !== "sum",
    _remove_final_layer_norm: config.residual?.norms !== "sum" && config.head?.hasNorm === false,
    activation_function: nameOfActivation(config.mlp.activation),
    enable_bias: config.attention.hasBias,
    layer_norm_elementwise_affine: config.norm.learns !== "none",
    init_std: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "model.decoder.embed_tokens.weight"),
      one("positionEmbedding", "model.decoder.embed_positions.weight"),
      one("embeddingProjection.weight", "model.decoder.project_in.weight"),
      one("headProjection.weight", "model.decoder.project_out.weight"),
      ...linears("layers.*.attention", "model.decoder.layers.*.self_attn", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        output: "out_proj",
      }),
      ...norms("layers.*", "model.decoder.layers.*", {
        attentionNorm: "self_attn_layer_norm",
        mlpNorm: "final_layer_norm",
      }),
      ...linears("layers.*.mlp", "model.decoder.layers.*", { up: "fc1", down: "fc2" }),
      one("norm.weight", "model.decoder.final_layer_norm.weight"),
      one("norm.bias", "model.decoder.final_layer_norm.bias"),
      one("unembedding", "lm_head.weight"),
    ],
    optionalPrefix: "model.",
  }),
};
