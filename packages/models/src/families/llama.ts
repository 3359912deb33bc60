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
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

/**
 * Llama 1 to 3 and the models of its form: rotary positions, RMS norms, gated feed-forward, grouped queries.
 *
 * @see Touvron et al. 2023, arXiv:2302.13971 and arXiv:2307.09288; Grattafiori et al. 2024, arXiv:2407.21783
 */
export const llama: Family<z.infer<typeof schema>> = {
  modelType: "llama",
  className: "LlamaForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "pretraining_tp"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "llama",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: json.mlp_bias },
      attention: { hasBias: json.attention_bias, scale: sizes.headDim ** -0.5 },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
    mlp_bias: config.mlp.hasBias,
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
