import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, llamaNames, norms, one } from "./names.js";
import { partialRotaryKey, partialRotaryToJson, ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  partial_rotary_factor: partialRotaryKey.partial_rotary_factor.default(0.5),
  hidden_act: z.enum(activationNames).default("gelu_new"),
  layer_norm_eps: positive.default(1e-5),
  qk_layernorm: z.boolean().default(false),
});

/**
 * Phi-1 and Phi-2: attention and feed-forward side by side after one norm, a part of each head turns, biases everywhere.
 *
 * @see Li et al. 2023, Textbooks Are All You Need II, arXiv:2309.05463
 */
export const phi: Family<z.infer<typeof schema>> = {
  modelType: "phi",
  className: "PhiForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "embd_pdrop", "resid_pdrop"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "layer", eps: json.layer_norm_eps } as const;
    return {
      family: "phi",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      residual: { order: "parallel", norms: "pre", sharesNorm: true },
      mlp: { kind: "plain", activation: activationOf(json.hidden_act), hasBias: true },
      attention: {
        hasBias: true,
        scale: sizes.headDim ** -0.5,
        ...(json.qk_layernorm ? { queryKeyNorm: { ...norm, over: "head" } } : {}),
      },
      head: { hasBias: true },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...partialRotaryToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    layer_norm_eps: config.norm.eps,
    qk_layernorm: config.attention.queryKeyNorm !== undefined,
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...linears("layers.*.attention", "model.layers.*.self_attn", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        output: "dense",
      }),
      ...norms("layers.*.attention", "model.layers.*.self_attn", {
        queryNorm: "q_layernorm",
        keyNorm: "k_layernorm",
      }),
      ...linears("layers.*.mlp", "model.layers.*.mlp", { up: "fc1", down: "fc2" }),
      one("norm.weight", "model.final_layernorm.weight"),
      one("norm.bias", "model.final_layernorm.bias"),
      one("unembedding", "lm_head.weight"),
      one("unembeddingBias", "lm_head.bias"),
    ],
    ignored: llamaNames.ignored,
  }),
};
