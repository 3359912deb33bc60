import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { router, separateExperts } from "./experts-names.js";
import type { Family } from "./family.js";
import { llamaNames, llamaRules } from "./names.js";
import { qwenExpertKeys, qwenExperts, qwenExpertsToJson } from "./qwen-experts.js";
import { qwenWindowKeys, qwenWindowsToJson } from "./qwen2.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...qwenWindowKeys,
  ...qwenExpertKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
});

/**
 * Qwen3-30B-A3B and its kin: Qwen3 with experts.
 *
 * @see Yang et al. 2025, arXiv:2505.09388
 */
export const qwen3Moe: Family<z.infer<typeof schema>> = {
  modelType: "qwen3_moe",
  className: "Qwen3MoeForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "rms", eps: json.rms_norm_eps } as const;
    const dense = { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false } as const;
    return {
      family: "qwen3_moe",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      attention: {
        hasBias: json.attention_bias,
        scale: sizes.headDim ** -0.5,
        queryKeyNorm: { ...norm, over: "head" },
        ...(json.use_sliding_window && json.sliding_window ? { window: json.sliding_window } : {}),
      },
      ...qwenExperts(json, { dense }),
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...qwenWindowsToJson(config),
    ...qwenExpertsToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  }),
  weights: () => ({
    rules: [...llamaRules, router("mlp.gate"), ...separateExperts("mlp")],
    ignored: llamaNames.ignored,
  }),
};
