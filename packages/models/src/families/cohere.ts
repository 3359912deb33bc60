import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  tie_word_embeddings: z.boolean().default(true),
  hidden_act: z.enum(activationNames).default("silu"),
  layer_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(false),
  use_qk_norm: z.boolean().default(false),
  logit_scale: positive.default(0.0625),
});

/**
 * Command R: attention and feed-forward side by side after one norm without shift, neighbouring features turn, logits scaled.
 *
 * @see Cohere 2024, C4AI Command R
 */
export const cohere: Family<z.infer<typeof schema>> = {
  modelType: "cohere",
  className: "CohereForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "model_max_length"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "layer", eps: json.layer_norm_eps, learns: "scale" } as const;
    return {
      family: "cohere",
      ...sizes,
      norm,
      positions: { ...ropeFromJson(json, sizes), layout: "interleaved" },
      residual: { order: "parallel", norms: "pre", sharesNorm: true },
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: {
        hasBias: json.attention_bias,
        scale: sizes.headDim ** -0.5,
        ...(json.use_qk_norm ? { queryKeyNorm: { ...norm, over: "own" } } : {}),
      },
      head: { scale: json.logit_scale },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    layer_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
    use_qk_norm: config.attention.queryKeyNorm !== undefined,
    logit_scale: config.head?.scale ?? 1,
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
