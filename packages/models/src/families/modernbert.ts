import { z } from "zod";
import type { RopePositions } from "../config.js";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { predictionKeys, predictionsFromJson, predictionsToJson } from "./encoder-json.js";
import { ignoredByEncoders, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokensFromJson } from "./token-json.js";

const rope = z.object({ rope_theta: positive, rope_type: z.literal("default").default("default") }).nullish();

const schema = z.object({
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: partCount,
  num_attention_heads: partCount,
  max_position_embeddings: count.default(8192),
  hidden_activation: z.enum(activationNames).default("gelu"),
  norm_eps: positive.default(1e-5),
  norm_bias: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  classifier_bias: z.boolean().default(false),
  classifier_activation: z.enum(activationNames).default("gelu"),
  classifier_pooling: z.enum(["cls", "mean"]).default("cls"),
  decoder_bias: z.boolean().default(true),
  local_attention: count.default(128),
  layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).nullish(),
  rope_parameters: z.object({ full_attention: rope, sliding_attention: rope }).nullish(),
  global_attn_every_n_layers: count.default(3),
  global_rope_theta: positive.default(160_000),
  local_rope_theta: positive.nullish(),
  ...predictionKeys,
});

/**
 * ModernBERT: norms before blocks, rotary positions, gated feed-forward, and layers that see only their neighbourhood.
 *
 * @see Warner et al. 2024, ModernBERT, arXiv:2412.13663
 */
export const modernbert: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "modernbert",
  className: "ModernBertForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "classifier_dropout",
    "cls_token_id",
    "deterministic_flash_attn",
    "embedding_dropout",
    "gradient_checkpointing",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "mlp_dropout",
    "position_embedding_type",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_pred_ignore_index",
    "sparse_prediction",
  ],
  toConfig(json) {
    const headDim = headDimOf({
      hidden_size: json.hidden_size,
      num_attention_heads: json.num_attention_heads,
    });
    const { full_attention: full, sliding_attention: sliding } = json.rope_parameters ?? {};
    const turning = (theta: number): RopePositions => ({ kind: "rope", theta, scaling: { kind: "default" } });
    const globalTheta = full?.rope_theta ?? json.global_rope_theta;
    const everywhere = {
      attention: { hasBias: json.attention_bias, scale: headDim ** -0.5 },
      positions: turning(globalTheta),
    };
    const nearby = {
      // As many to each side as half of `local_attention`, and the token itself.
      attention: { ...everywhere.attention, window: Math.floor(json.local_attention / 2) + 1 },
      positions: turning(sliding?.rope_theta ?? json.local_rope_theta ?? globalTheta),
    };
    const types =
      json.layer_types ??
      Array.from({ length: json.num_hidden_layers }, (_, layer) =>
        layer % json.global_attn_every_n_layers === 0 ? "full_attention" : "sliding_attention",
      );
    const transform = {
      activation: activationOf(json.classifier_activation),
      hasBias: json.classifier_bias,
      hasNorm: true,
    };
    return {
      family: "modernbert",
      vocabSize: json.vocab_size,
      modelDim: json.hidden_size,
      ffnDim: json.intermediate_size,
      numLayers: json.num_hidden_layers,
      numHeads: json.num_attention_heads,
      numKvHeads: json.num_attention_heads,
      headDim,
      maxSeqLen: json.max_position_embeddings,
      norm: { kind: "layer", eps: json.norm_eps, learns: json.norm_bias ? "both" : "scale" },
      ...everywhere,
      layerOverrides: types.map((type) => (type === "full_attention" ? {} : nearby)),
      residual: { order: "sequential", norms: "pre", skipsFirstNorm: true },
      mlp: { kind: "gated", activation: activationOf(json.hidden_activation), hasBias: json.mlp_bias },
      inputs: { numTypes: 0, positions: "none" },
      hasLastNorm: true,
      predictions: predictionsFromJson(json, {
        tokens: { ...transform, hasTokenBias: json.decoder_bias },
        transform,
        forTokens: transform,
        of: json.classifier_pooling === "mean" ? "mean" : "first",
      }),
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson(config) {
    const { positions, attention, layerOverrides = [], predictions } = config;
    const nearby = layerOverrides.find((layer) => layer.attention?.window !== undefined);
    const theta = (at: typeof positions | undefined) => (at?.kind === "rope" ? at.theta : 10_000);
    const ropeOf = (at: typeof positions | undefined) => ({ rope_theta: theta(at), rope_type: "default" });
    return {
      vocab_size: config.vocabSize,
      hidden_size: config.modelDim,
      intermediate_size: config.ffnDim,
      num_hidden_layers: config.numLayers,
      num_attention_heads: config.numHeads,
      max_position_embeddings: config.maxSeqLen,
      hidden_activation: nameOfActivation(config.mlp.activation),
      norm_eps: config.norm.eps,
      norm_bias: config.norm.learns === "both",
      attention_bias: attention.hasBias,
      mlp_bias: config.mlp.hasBias,
      local_attention: 2 * ((nearby?.attention?.window ?? 65) - 1),
      layer_types: layerOverrides.map((layer) =>
        layer.attention === undefined ? "full_attention" : "sliding_attention",
      ),
      rope_parameters: {
        full_attention: ropeOf(positions),
        sliding_attention: ropeOf(nearby?.positions ?? positions),
      },
      ...classifierToJson(predictions),
      ...predictionsToJson(config, "ModernBert"),
    };
  },
  weights: (config) => ({
    rules: [
      one("embedding", "model.embeddings.tok_embeddings.weight"),
      one("embeddingNorm.weight", "model.embeddings.norm.weight"),
      one("embeddingNorm.bias", "model.embeddings.norm.bias"),
      ...norms("layers.*", "model.layers.*", { attentionNorm: "attn_norm", mlpNorm: "mlp_norm" }),
      ...linears("layers.*.attention", "model.layers.*.attn", { "query key value": "Wqkv", output: "Wo" }),
      ...linears("layers.*.mlp", "model.layers.*.mlp", { "gate up": "Wi", down: "Wo" }),
      one("norm.weight", "model.final_norm.weight"),
      one("norm.bias", "model.final_norm.bias"),
      ...predictionRules(config, {
        tokens: { transform: "head.dense", norm: "head.norm", bias: "decoder.bias", table: "decoder.weight" },
        texts: { transform: "head.dense", norm: "head.norm", classes: "classifier" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "model.",
    ignored: [...ignoredByEncoders, /^decoder\.weight$/],
  }),
};

function classifierToJson(predictions: EncoderConfig["predictions"]): Record<string, unknown> {
  switch (predictions.kind) {
    case "none":
      return {};
    case "tokens":
      return {
        classifier_activation: nameOfActivation(predictions.activation),
        classifier_bias: predictions.hasBias,
        decoder_bias: predictions.hasTokenBias,
      };
    case "classes": {
      const { activation = "gelu", hasBias = false } = predictions.transform ?? {};
      return {
        classifier_activation: activation === "tanh" ? "gelu" : nameOfActivation(activation),
        classifier_bias: hasBias,
        classifier_pooling: predictions.of === "mean" ? "mean" : "cls",
      };
    }
    default:
      return predictions satisfies never;
  }
}
