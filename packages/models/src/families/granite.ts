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
  embedding_multiplier: positive.default(1),
  attention_multiplier: positive.default(1),
  residual_multiplier: positive.default(1),
  logits_scaling: positive.default(1),
});

/**
 * Granite 3: Llama with factors on embeddings, scores, residual branches and logits.
 *
 * @see Granite Team 2024, Granite 3.0 Language Models; Yang et al. 2022 (muP), arXiv:2203.03466
 */
export const granite: Family<z.infer<typeof schema>> = {
  modelType: "granite",
  className: "GraniteForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "granite",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, sizes),
      residual: { order: "sequential", norms: "pre", scale: json.residual_multiplier },
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: json.mlp_bias },
      attention: { hasBias: json.attention_bias, scale: json.attention_multiplier },
      embedding: { scale: json.embedding_multiplier },
      head: { scale: 1 / json.logits_scaling },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
    mlp_bias: config.mlp.hasBias,
    embedding_multiplier: config.embedding?.scale ?? 1,
    attention_multiplier: config.attention.scale,
    residual_multiplier: config.residual?.scale ?? 1,
    logits_scaling: 1 / (config.head?.scale ?? 1),
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
