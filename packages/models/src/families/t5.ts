import { z } from "zod";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import type { Seq2SeqWeights } from "../seq2seq/weights.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family, WeightRule } from "./family.js";
import { linears, one } from "./names.js";
import { unboundedSeqLen } from "./recurrent-json.js";
import { inertSeq2SeqKeys, stackConfig } from "./seq2seq-json.js";
import { count, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  d_model: count,
  d_kv: count,
  d_ff: count,
  num_layers: partCount,
  num_decoder_layers: partCount.nullish(),
  num_heads: partCount,
  relative_attention_num_buckets: count.default(32),
  relative_attention_max_distance: count.default(128),
  layer_norm_epsilon: positive.default(1e-6),
  /** An activation, or "gated-" and one. "gated-gelu" means the tanh form. */
  feed_forward_proj: z.templateLiteral([z.enum(["", "gated-"]), z.enum(activationNames)]).default("relu"),
  scale_decoder_outputs: z.boolean().nullish(),
  decoder_start_token_id: z.number().int().min(0).default(0),
  initializer_factor: positive.default(1),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * T5, and with a gated feed-forward block T5 1.1, Flan-T5, UL2 and mT5.
 *
 * @see Raffel et al. 2019, T5, arXiv:1910.10683; Tay et al. 2022, UL2, arXiv:2205.05131
 */
export const t5: Family<z.infer<typeof schema>, Seq2SeqConfig, Seq2SeqWeights> = {
  modelType: "t5",
  aliases: ["mt5"],
  className: "T5ForConditionalGeneration",
  architecture: seq2seq,
  schema,
  inertKeys: [
    ...inertSeq2SeqKeys,
    "dense_act_fn",
    "dropout_rate",
    "is_gated_act",
    "n_positions",
    "output_past",
  ],
  toConfig(json) {
    const model = {
      family: "t5",
      vocabSize: json.vocab_size,
      maxSeqLen: unboundedSeqLen,
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_factor,
      tokens: tokensFromJson(json),
    };
    const isGated = json.feed_forward_proj.startsWith("gated-");
    const name = json.feed_forward_proj.replace("gated-", "") as (typeof activationNames)[number];
    const activation = isGated && name === "gelu" ? "gelu-tanh" : activationOf(name);
    const stack = (numLayers: number) =>
      stackConfig(
        model,
        {
          modelDim: json.d_model,
          norm: { kind: "rms", eps: json.layer_norm_epsilon },
          residual: { order: "sequential", norms: "pre" },
          mlp: { kind: isGated ? "gated" : "plain", activation, hasBias: false },
          attention: { hasBias: false, scale: 1 },
        },
        {
          numLayers,
          numHeads: json.num_heads,
          ffnDim: json.d_ff,
          headDim: json.d_kv,
          maxSeqLen: unboundedSeqLen,
        },
      );
    const isScaled = json.scale_decoder_outputs ?? json.tie_word_embeddings;
    return {
      ...model,
      modelDim: json.d_model,
      encoder: stack(json.num_layers),
      decoder: stack(json.num_decoder_layers ?? json.num_layers),
      source: { kind: "tokens" },
      positions: {
        kind: "buckets",
        numBuckets: json.relative_attention_num_buckets,
        maxDistance: json.relative_attention_max_distance,
      },
      embedding: { hasNorm: false },
      hasLastNorm: true,
      head: { hasBias: false, ...(isScaled ? { scale: json.d_model ** -0.5 } : {}) },
      startId: json.decoder_start_token_id,
    };
  },
  toJson: ({ encoder, decoder, positions, ...config }) => ({
    vocab_size: config.vocabSize,
    d_model: config.modelDim,
    d_kv: encoder.headDim,
    d_ff: encoder.ffnDim,
    num_layers: encoder.numLayers,
    num_decoder_layers: decoder.numLayers,
    num_heads: encoder.numHeads,
    ...(positions.kind === "buckets"
      ? {
          relative_attention_num_buckets: positions.numBuckets,
          relative_attention_max_distance: positions.maxDistance,
        }
      : {}),
    layer_norm_epsilon: encoder.norm.eps,
    feed_forward_proj: feedForwardName(encoder.mlp),
    scale_decoder_outputs: config.head.scale !== undefined,
    decoder_start_token_id: config.startId,
    is_encoder_decoder: true,
    initializer_factor: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: ({ encoder }) => ({
    rules: [
      one("embedding", "shared.weight"),
      ...stackRules("encoder", encoder.mlp.kind === "gated"),
      ...stackRules("decoder", encoder.mlp.kind === "gated"),
      one("unembedding", "lm_head.weight"),
    ],
    ignored: [
      /^(?:encoder|decoder)\.embed_tokens\.weight$/,
      /EncDecAttention\.relative_attention_bias\.weight$/,
    ],
  }),
};

function feedForwardName({ kind, activation }: Seq2SeqConfig["encoder"]["mlp"]): string {
  const isGated = kind === "gated";
  const name = isGated && activation === "gelu-tanh" ? "gelu" : nameOfActivation(activation);
  return isGated ? `gated-${name}` : name;
}

function stackRules(side: "encoder" | "decoder", isGated: boolean): WeightRule[] {
  const projections = { query: "q", key: "k", value: "v", output: "o" };
  const block = `${side}.block.*.layer`;
  const last = side === "encoder" ? 1 : 2;
  return [
    one(`${side}.distanceBias`, `${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`),
    ...linears(`${side}.layers.*.attention`, `${block}.0.SelfAttention`, projections),
    ...linears(`${side}.layers.*.cross`, `${block}.1.EncDecAttention`, projections),
    one(`${side}.layers.*.attentionNorm.weight`, `${block}.0.layer_norm.weight`),
    one(`${side}.layers.*.crossNorm.weight`, `${block}.1.layer_norm.weight`),
    one(`${side}.layers.*.mlpNorm.weight`, `${block}.${last}.layer_norm.weight`),
    ...linears(`${side}.layers.*.mlp`, `${block}.${last}.DenseReluDense`, {
      ...(isGated ? { gate: "wi_0", up: "wi_1" } : { up: "wi" }),
      down: "wo",
    }),
    one(`${side}.norm.weight`, `${side}.final_layer_norm.weight`),
  ];
}
