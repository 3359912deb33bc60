import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family, WeightRule } from "./family.js";
import { gemmaConfig, gemmaKeys, gemmaToJson } from "./gemma.js";
import { layerTypeKeys, windowedLayers, windowsToJson } from "./layer-types.js";
import { llamaNames, norms } from "./names.js";
import { count, positive } from "./size-json.js";

/** What Gemma 2 brought and Gemma 3 kept. */
export const gemma2Keys = {
  ...gemmaKeys,
  ...layerTypeKeys,
  query_pre_attn_scalar: positive.default(256),
  sliding_window: count.nullish().default(4096),
  attn_logit_softcapping: positive.nullish(),
  final_logit_softcapping: positive.nullish(),
};

const schema = z.object({
  ...gemma2Keys,
  attn_logit_softcapping: positive.nullish().default(50),
  final_logit_softcapping: positive.nullish().default(30),
});

/**
 * Gemma 2: norms on both sides of each block, capped scores and logits, a window in every second layer.
 *
 * @see Gemma Team 2024, arXiv:2408.00118
 */
export const gemma2: Family<z.infer<typeof schema>> = {
  modelType: "gemma2",
  className: "Gemma2ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "cache_implementation"],
  toConfig(json) {
    const base = gemma2Config(json);
    const windows = windowedLayers(base, {
      window: json.sliding_window,
      types: json.layer_types,
      isWindowed: (layer) => layer % 2 === 0,
    });
    return { family: "gemma2", ...base, ...windows };
  },
  toJson: (config) => gemma2ToJson(config),
  weights: () => ({ rules: gemma2Rules, ignored: llamaNames.ignored }),
};

/** Weights of a layer with four norms. */
export const gemma2Rules: readonly WeightRule[] = [
  llamaNames.embedding,
  ...llamaNames.attentionNorm,
  ...llamaNames.attention,
  ...llamaNames.queryKeyNorms,
  ...norms("layers.*", "model.layers.*", {
    attentionPostNorm: "post_attention_layernorm",
    mlpNorm: "pre_feedforward_layernorm",
    mlpPostNorm: "post_feedforward_layernorm",
  }),
  ...llamaNames.mlp,
  ...llamaNames.last,
];

export function gemma2Config(json: z.infer<z.ZodObject<typeof gemma2Keys>>) {
  const base = gemmaConfig(json);
  return {
    ...base,
    attention: {
      ...base.attention,
      scale: json.query_pre_attn_scalar ** -0.5,
      ...(json.attn_logit_softcapping ? { softcap: json.attn_logit_softcapping } : {}),
    },
    residual: { order: "sequential", norms: "both" },
    ...(json.final_logit_softcapping ? { head: { softcap: json.final_logit_softcapping } } : {}),
  } as const;
}

export function gemma2ToJson(config: Parameters<typeof gemmaToJson>[0]): Record<string, unknown> {
  return {
    ...gemmaToJson(config),
    ...windowsToJson(config),
    query_pre_attn_scalar: config.attention.scale ** -2,
    attn_logit_softcapping: config.attention.softcap ?? null,
    final_logit_softcapping: config.head?.softcap ?? null,
  };
}
