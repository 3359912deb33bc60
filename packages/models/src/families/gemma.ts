import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

/** What the three generations of Gemma share. */
export const gemmaKeys = {
  ...sizeKeys,
  ...ropeKeys,
  head_dim: sizeKeys.head_dim.default(256),
  tie_word_embeddings: z.boolean().default(true),
  hidden_act: z.enum(activationNames).nullish(),
  hidden_activation: z.enum(activationNames).nullish(),
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
};

type GemmaJson = z.infer<z.ZodObject<typeof gemmaKeys>>;

const schema = z.object(gemmaKeys);

/**
 * Gemma: Llama with scaled embeddings, norm weights stored less one, and gelu.
 *
 * @see Gemma Team 2024, arXiv:2403.08295
 */
export const gemma: Family<z.infer<typeof schema>> = {
  modelType: "gemma",
  className: "GemmaForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig: (json) => ({ family: "gemma", ...gemmaConfig(json) }),
  toJson: (config) => ({ ...gemmaToJson(config), hidden_act: nameOfActivation(config.mlp.activation) }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};

/** The configuration of the first Gemma, from which the later ones depart. */
export function gemmaConfig(json: GemmaJson) {
  const sizes = sizesFromJson(json);
  const activation = activationOf(json.hidden_activation ?? json.hidden_act ?? "gelu_pytorch_tanh");
  return {
    ...sizes,
    norm: { kind: "rms", eps: json.rms_norm_eps, offset: 1 },
    positions: ropeFromJson(json, sizes),
    mlp: { kind: "gated", activation, hasBias: false },
    attention: { hasBias: json.attention_bias, scale: sizes.headDim ** -0.5 },
    embedding: { scale: Math.sqrt(sizes.modelDim) },
  } as const;
}

export function gemmaToJson(config: Parameters<typeof sizesToJson>[0]): Record<string, unknown> {
  return {
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_activation: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  };
}
