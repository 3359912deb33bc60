import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const { intermediate_size, num_key_value_heads, ...keys } = sizeKeys;

const schema = z.object({
  ...keys,
  ...ropeKeys,
  tie_word_embeddings: z.boolean().default(true),
  ffn_hidden_size: count.nullish(),
  num_kv_heads: partCount.nullish(),
  multi_query: z.boolean().default(true),
  new_decoder_architecture: z.boolean().default(false),
  num_ln_in_parallel_attn: z.union([z.literal(1), z.literal(2)]).nullish(),
  parallel_attn: z.boolean().default(true),
  alibi: z.boolean().default(false),
  // Published files say it of all Falcons; another value would be another model.
  apply_residual_connection_post_layernorm: z.literal(false).nullish(),
  bias: z.boolean().default(false),
  activation: z.enum(activationNames).default("gelu"),
  layer_norm_epsilon: positive.default(1e-5),
  transformers_version: z.string().nullish(),
});

/**
 * Falcon: one key head (7B), grouped key heads with two norms (40B, 180B), or falling scores and no parallel blocks (RW).
 *
 * ALiBi is that of the authors' code: softmax((q k + slope position) / sqrt(D)), the bias divided too.
 * @see Almazrouei et al. 2023, arXiv:2311.16867
 * Differs from that code and transformers, which round the biases to bfloat16. Release 5 of transformers adds them twice with eager
 * attention, once with others: a file that says it comes from that release is computed as with eager attention. Take
 * `transformers_version` out of the config.json of a model that was trained with others. What is published (RW) comes from release 4.
 */
export const falcon: Family<z.infer<typeof schema>> = {
  modelType: "falcon",
  className: "FalconForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "hidden_dropout"],
  toConfig(json) {
    const isNew = json.new_decoder_architecture;
    const numKvHeads = isNew
      ? (json.num_kv_heads ?? json.num_attention_heads)
      : json.multi_query
        ? 1
        : json.num_attention_heads;
    const ffn = json.ffn_hidden_size ?? 4 * json.hidden_size;
    const sizes = sizesFromJson({ ...json, intermediate_size: ffn, num_key_value_heads: numKvHeads });
    const scale = sizes.headDim ** -0.5;
    const isParallel = isNew || json.parallel_attn;
    const sharesNorm = isParallel && (json.num_ln_in_parallel_attn ?? (isNew ? 2 : 1)) === 1;
    return {
      family: "falcon",
      ...sizes,
      norm: { kind: "layer", eps: json.layer_norm_epsilon },
      positions: json.alibi
        ? { kind: "alibi", scale: addsTwice(json.transformers_version) ? 2 * scale : scale }
        : ropeFromJson(json, sizes),
      residual: { order: isParallel ? "parallel" : "sequential", norms: "pre", sharesNorm },
      mlp: { kind: "plain", activation: activationOf(json.activation), hasBias: json.bias },
      attention: { hasBias: json.bias, scale },
    };
  },
  toJson(config) {
    const { intermediate_size: ffn, num_key_value_heads: kvHeads, ...sizes } = sizesToJson(config);
    const { order, sharesNorm = false } = config.residual ?? { order: "sequential" };
    const isNew = order === "parallel" && !(sharesNorm && kvHeads === 1);
    return {
      ...sizes,
      ...ropeToJson(config.positions),
      ffn_hidden_size: ffn,
      num_kv_heads: kvHeads,
      multi_query: kvHeads === 1,
      new_decoder_architecture: isNew,
      num_ln_in_parallel_attn: isNew ? (sharesNorm ? 1 : 2) : null,
      parallel_attn: order === "parallel",
      alibi: config.positions.kind === "alibi",
      ...(config.positions.kind === "alibi" && (config.positions.scale ?? 1) > config.attention.scale
        ? { transformers_version: "5.0.0" }
        : {}),
      bias: config.attention.hasBias,
      activation: nameOfActivation(config.mlp.activation),
      layer_norm_epsilon: config.norm.eps,
    };
  },
  weights: ({ numKvHeads, residual }) => ({
    rules: [
      one("embedding", "transformer.word_embeddings.weight"),
      ...norms(
        "layers.*",
        "transformer.h.*",
        residual?.order === "parallel" && !residual.sharesNorm
          ? { attentionNorm: "ln_attn", mlpNorm: "ln_mlp" }
          : { attentionNorm: "input_layernorm", mlpNorm: "post_attention_layernorm" },
      ),
      // One matrix: for each key head the queries that share it, the key and the value.
      ...linears(
        "layers.*.attention",
        "transformer.h.*.self_attention",
        { "query key value": "query_key_value" },
        { groups: numKvHeads },
      ),
      ...linears("layers.*.attention", "transformer.h.*.self_attention", { output: "dense" }),
      ...linears("layers.*.mlp", "transformer.h.*.mlp", { up: "dense_h_to_4h", down: "dense_4h_to_h" }),
      one("norm.weight", "transformer.ln_f.weight"),
      one("norm.bias", "transformer.ln_f.bias"),
      one("unembedding", "lm_head.weight"),
    ],
    ignored: [/^transformer\.h\.\d+\.self_attention\.rotary_emb\.inv_freq$/],
  }),
};

function addsTwice(release: string | null | undefined): boolean {
  return Number.parseInt(release ?? "0", 10) >= 5;
}
