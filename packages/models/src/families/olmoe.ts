import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { router, separateExperts } from "./experts-names.js";
import type { Family } from "./family.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(false),
  clip_qkv: positive.nullish(),
  num_experts: partCount.default(64),
  num_experts_per_tok: partCount.default(8),
  norm_topk_prob: z.boolean().default(false),
});

/**
 * OLMoE: many small experts, norms over all queries and keys of a token.
 *
 * @see Muennighoff et al. 2024, arXiv:2409.02060
 */
export const olmoe: Family<z.infer<typeof schema>> = {
  modelType: "olmoe",
  className: "OlmoeForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "rms", eps: json.rms_norm_eps } as const;
    return {
      family: "olmoe",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      attention: {
        hasBias: json.attention_bias,
        scale: sizes.headDim ** -0.5,
        queryKeyNorm: { ...norm, over: "all" },
        ...(json.clip_qkv ? { clip: json.clip_qkv } : {}),
      },
      mlp: {
        kind: "experts",
        activation: activationOf(json.hidden_act),
        hasBias: false,
        experts: {
          numExperts: json.num_experts,
          topK: json.num_experts_per_tok,
          routing: { scores: "softmax", isNormalized: json.norm_topk_prob },
        },
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
    clip_qkv: config.attention.clip ?? null,
    num_experts: config.mlp.experts?.numExperts,
    num_experts_per_tok: config.mlp.experts?.topK,
    norm_topk_prob: config.mlp.experts?.routing.isNormalized,
  }),
  weights: () => ({
    rules: [...llamaRules, router("mlp.gate"), ...separateExperts("mlp")],
    ignored: llamaNames.ignored,
  }),
};
