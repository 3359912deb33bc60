import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames } from "./names.js";
import { partialRotaryKey, partialRotaryToJson, ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

export const glmKeys = {
  ...sizeKeys,
  ...ropeKeys,
  partial_rotary_factor: partialRotaryKey.partial_rotary_factor.default(0.5),
  head_dim: sizeKeys.head_dim.default(128),
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1.5625e-7),
  attention_bias: z.boolean().default(false),
};

const schema = z.object(glmKeys);

/**
 * GLM-4 (the 9B model of 2024): Llama of which neighbouring features of half of each head turn.
 *
 * @see Team GLM 2024, arXiv:2406.12793
 */
export const glm: Family<z.infer<typeof schema>> = {
  modelType: "glm",
  className: "GlmForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig: (json) => ({ family: "glm", ...glmConfig(json) }),
  toJson: (config) => glmToJson(config),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      ...llamaNames.mlpNorm,
      ...llamaNames.fusedMlp,
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};

export function glmConfig(json: z.infer<typeof schema>) {
  const sizes = sizesFromJson(json);
  return {
    ...sizes,
    norm: { kind: "rms", eps: json.rms_norm_eps },
    positions: { ...ropeFromJson(json, sizes), layout: "interleaved" },
    mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
    attention: { hasBias: json.attention_bias, hasOutputBias: false, scale: sizes.headDim ** -0.5 },
  } as const;
}

export function glmToJson(config: Parameters<typeof partialRotaryToJson>[0]): Record<string, unknown> {
  return {
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...partialRotaryToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  };
}
