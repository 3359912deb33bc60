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
  hidden_act: z.enum(activationNames).default("silu"),
  attention_bias: z.boolean().default(false),
  clip_qkv: positive.nullish(),
});

/**
 * OLMo: Llama with layer norms that learn nothing.
 *
 * @see Groeneveld et al. 2024, arXiv:2402.00838
 */
export const olmo: Family<z.infer<typeof schema>> = {
  modelType: "olmo",
  className: "OlmoForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "pretraining_tp"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "olmo",
      ...sizes,
      norm: { kind: "layer", eps: 1e-5, learns: "none" },
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: {
        hasBias: json.attention_bias,
        scale: sizes.headDim ** -0.5,
        ...(json.clip_qkv ? { clip: json.clip_qkv } : {}),
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    attention_bias: config.attention.hasBias,
    clip_qkv: config.attention.clip ?? null,
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
