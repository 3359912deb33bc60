import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { partialRotaryToJson, ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  rotary_pct: positive.max(1).default(0.25),
  rotary_emb_base: positive.nullish(),
  hidden_act: z.enum(activationNames).default("gelu"),
  layer_norm_eps: positive.default(1e-5),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
});

/**
 * GPT-NeoX and Pythia: attention and feed-forward side by side after a norm each, a part of each head turns.
 *
 * @see Black et al. 2022, arXiv:2204.06745
 */
export const gptNeox: Family<z.infer<typeof schema>> = {
  modelType: "gpt_neox",
  className: "GPTNeoXForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "hidden_dropout", "classifier_dropout", "attention_probs_dropout_prob"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const rope = {
      ...json,
      rope_theta: json.rope_theta ?? json.rotary_emb_base,
      partial_rotary_factor: json.rotary_pct,
    };
    return {
      family: "gpt_neox",
      ...sizes,
      norm: { kind: "layer", eps: json.layer_norm_eps },
      positions: ropeFromJson(rope, sizes),
      residual: { order: json.use_parallel_residual ? "parallel" : "sequential", norms: "pre" },
      mlp: { kind: "plain", activation: activationOf(json.hidden_act), hasBias: true },
      attention: { hasBias: json.attention_bias, scale: sizes.headDim ** -0.5 },
    };
  },
  toJson(config) {
    const { head_dim, num_key_value_heads, ...sizes } = sizesToJson(config);
    const { rope_theta, ...rope } = ropeToJson(config.positions);
    return {
      ...sizes,
      ...rope,
      rotary_emb_base: rope_theta,
      rotary_pct: partialRotaryToJson(config).partial_rotary_factor,
      hidden_act: nameOfActivation(config.mlp.activation),
      layer_norm_eps: config.norm.eps,
      use_parallel_residual: config.residual?.order === "parallel",
      attention_bias: config.attention.hasBias,
    };
  },
  weights: ({ numHeads }) => ({
    rules: [
      one("embedding", "gpt_neox.embed_in.weight"),
      ...norms("layers.*", "gpt_neox.layers.*", {
        attentionNorm: "input_layernorm",
        mlpNorm: "post_attention_layernorm",
      }),
      // One matrix, with query, key and value head by head.
      ...linears(
        "layers.*.attention",
        "gpt_neox.layers.*.attention",
        { "query key value": "query_key_value" },
        { groups: numHeads },
      ),
      ...linears("layers.*.attention", "gpt_neox.layers.*.attention", { output: "dense" }),
      ...linears("layers.*.mlp", "gpt_neox.layers.*.mlp", { up: "dense_h_to_4h", down: "dense_4h_to_h" }),
      one("norm.weight", "gpt_neox.final_layer_norm.weight"),
      one("norm.bias", "gpt_neox.final_layer_norm.bias"),
      one("unembedding", "embed_out.weight"),
    ],
    ignored: [/^gpt_neox\.layers\.\d+\.attention\.(?:(?:masked_)?bias|rotary_emb\.inv_freq)$/],
  }),
};
