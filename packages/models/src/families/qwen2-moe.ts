import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { router, separateExperts, sharedExpert } from "./experts-names.js";
import type { Family } from "./family.js";
import { windowedLayers } from "./layer-types.js";
import { llamaNames, llamaRules, one } from "./names.js";
import { joinOverrides, qwenExpertKeys, qwenExperts, qwenExpertsToJson } from "./qwen-experts.js";
import { qwenWindowKeys, qwenWindows, qwenWindowsToJson } from "./qwen2.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...qwenWindowKeys,
  ...qwenExpertKeys,
  shared_expert_intermediate_size: count,
  qkv_bias: z.boolean().default(true),
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
});

/**
 * Qwen1.5-MoE and Qwen2-57B-A14B: Qwen2 with experts and a shared one behind a gate.
 *
 * @see Yang et al. 2024, arXiv:2407.10671, section 2.2.2
 */
export const qwen2Moe: Family<z.infer<typeof schema>> = {
  modelType: "qwen2_moe",
  className: "Qwen2MoeForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const attention = { hasBias: json.qkv_bias, hasOutputBias: false, scale: sizes.headDim ** -0.5 };
    const dense = { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false } as const;
    const shared = { ffnDim: json.shared_expert_intermediate_size, isGated: true };
    const experts = qwenExperts(json, { dense, shared });
    const windows = windowedLayers({ ...sizes, attention }, qwenWindows(json));
    return {
      family: "qwen2_moe",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, sizes),
      ...experts,
      ...windows,
      ...joinOverrides(sizes.numLayers, experts.layerOverrides, windows.layerOverrides),
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...qwenWindowsToJson(config),
    ...qwenExpertsToJson(config),
    shared_expert_intermediate_size: config.mlp.experts?.shared?.ffnDim,
    qkv_bias: config.attention.hasBias,
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
  }),
  weights: () => ({
    rules: [
      ...llamaRules,
      router("mlp.gate"),
      ...separateExperts("mlp"),
      ...sharedExpert("mlp.shared_expert"),
      one("layers.*.experts.sharedGate.weight", "model.layers.*.mlp.shared_expert_gate.weight"),
    ],
    ignored: llamaNames.ignored,
  }),
};
