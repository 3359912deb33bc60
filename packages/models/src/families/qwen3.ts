import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { windowedLayers } from "./layer-types.js";
import { llamaNames, llamaRules } from "./names.js";
import { qwenWindowKeys, qwenWindows, qwenWindowsToJson } from "./qwen2.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...qwenWindowKeys,
  head_dim: sizeKeys.head_dim.default(128),
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
});

/**
 * Qwen3: Llama with a norm over each head's query and key.
 *
 * @see Yang et al. 2025, Qwen3 Technical Report, arXiv:2505.09388
 */
export const qwen3: Family<z.infer<typeof schema>> = {
  modelType: "qwen3",
  className: "Qwen3ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "rms", eps: json.rms_norm_eps } as const;
    const attention = {
      hasBias: json.attention_bias,
      scale: sizes.headDim ** -0.5,
      queryKeyNorm: { ...norm, over: "head" as const },
    };
    return {
      family: "qwen3",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      ...windowedLayers({ ...sizes, attention }, qwenWindows(json)),
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...qwenWindowsToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
