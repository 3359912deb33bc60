import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { windowFromJson, windowKey, windowToJson } from "./layer-types.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
  ...windowKey,
});

/**
 * Mistral 7B: Llama whose tokens see a window of the text.
 *
 * @see Jiang et al. 2023, arXiv:2310.06825
 */
export const mistral: Family<z.infer<typeof schema>> = {
  modelType: "mistral",
  className: "MistralForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "mistral",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: {
        hasBias: false,
        scale: sizes.headDim ** -0.5,
        ...windowFromJson(json),
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    ...windowToJson(config),
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
