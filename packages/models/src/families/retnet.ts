import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { recurrentFromJson } from "./recurrent-json.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  decoder_embed_dim: count.default(768),
  decoder_value_embed_dim: count.default(1280),
  decoder_ffn_embed_dim: count.default(1280),
  decoder_layers: partCount.default(12),
  decoder_retention_heads: partCount.default(3),
  activation_fn: z.enum(activationNames).default("gelu"),
  layernorm_eps: positive.default(1e-6),
  layernorm_embedding: z.boolean().default(false),
  no_scale_embedding: z.boolean().default(true),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  // Other layers than the published ones.
  use_glu: z.literal(true).default(true),
  decoder_normalize_before: z.literal(true).default(true),
  deepnorm: z.literal(false).default(false),
  use_lm_decay: z.literal(false).default(false),
  ...tokenKeys,
});

/**
 * RetNet: retention, which is attention without softmax that fades with distance, in the place of attention.
 *
 * Keys of config.json and names of weights are those of TorchScale's code as published for transformers.
 * @see Sun et al. 2023, Retentive Network, arXiv:2307.08621
 */
export const retnet: Family<z.infer<typeof schema>, RecurrentConfig, RecurrentWeights> = {
  modelType: "retnet",
  className: "RetNetForCausalLM",
  architecture: recurrent,
  schema,
  inertKeys: [
    "activation_dropout",
    "disable_fused_ops",
    "drop_path_rate",
    "dropout",
    "forward_impl",
    "is_decoder",
    "output_retentions",
    "recurrent_chunk_size",
    "subln",
    "use_ffn_rms_norm",
    "z_loss_coeff",
  ],
  toConfig: (json) => ({
    ...recurrentFromJson(json),
    family: "retnet",
    // Queries and keys turn in pairs of numbers.
    modelDim:
      2 *
      json.decoder_retention_heads *
      headDimOf({
        decoder_embed_dim: json.decoder_embed_dim,
        "twice decoder_retention_heads": 2 * json.decoder_retention_heads,
      }),
    numLayers: json.decoder_layers,
    norm: { kind: "rms", eps: json.layernorm_eps },
    embedding: {
      hasNorm: json.layernorm_embedding,
      ...(json.no_scale_embedding ? {} : { scale: json.decoder_embed_dim ** 0.5 }),
    },
    mixer: {
      kind: "retention",
      numHeads: json.decoder_retention_heads,
      valueDim: headDimOf({
        decoder_value_embed_dim: json.decoder_value_embed_dim,
        decoder_retention_heads: json.decoder_retention_heads,
      }),
      ffnDim: json.decoder_ffn_embed_dim,
      activation: activationOf(json.activation_fn),
    },
  }),
  toJson: ({ mixer, ...config }) => ({
    vocab_size: config.vocabSize,
    decoder_embed_dim: config.modelDim,
    decoder_layers: config.numLayers,
    ...(mixer.kind === "retention"
      ? {
          decoder_value_embed_dim: mixer.numHeads * mixer.valueDim,
          decoder_ffn_embed_dim: mixer.ffnDim,
          decoder_retention_heads: mixer.numHeads,
          activation_fn: mixer.activation === "silu" ? "swish" : nameOfActivation(mixer.activation),
        }
      : {}),
    layernorm_eps: config.norm.eps,
    layernorm_embedding: config.embedding?.hasNorm ?? false,
    no_scale_embedding: config.embedding?.scale === undefined,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "model.embed_tokens.weight"),
      one("embeddingNorm.weight", "model.layernorm_embedding.weight"),
      ...norms("layers.*.retention", "model.layers.*", {
        attentionNorm: "retention_layer_norm",
        mlpNorm: "final_layer_norm",
      }),
      ...linears("layers.*.retention.retention", "model.layers.*.retention", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        gate: "g_proj",
        output: "out_proj",
      }),
      ...linears("layers.*.retention.mlp", "model.layers.*.ffn", { gate: "fc1", up: "gate", down: "fc2" }),
      one("norm.weight", "model.layer_norm.weight"),
      one("unembedding", "lm_head.weight"),
    ],
    // Follow from the configuration.
    ignored: [/^model\.retnet_rel_pos\.(?:angle|decay)$/],
  }),
};
