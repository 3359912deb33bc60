import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { layerTypeKeys, windowedLayers, windowsToJson } from "./layer-types.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

/** Windows as Qwen2 and Qwen3 write them: from layer `max_window_layers` on, where `use_sliding_window` is true. */
export const qwenWindowKeys = {
  ...layerTypeKeys,
  use_sliding_window: z.boolean().default(false),
  sliding_window: count.or(z.literal(0)).nullish(),
  max_window_layers: z.number().int().min(0).default(28),
};

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...qwenWindowKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
});

/**
 * Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.
 *
 * @see Yang et al. 2024, Qwen2 Technical Report, arXiv:2407.10671
 */
export const qwen2: Family<z.infer<typeof schema>> = {
  modelType: "qwen2",
  className: "Qwen2ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "use_mrope"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const attention = { hasBias: true, hasOutputBias: false, scale: sizes.headDim ** -0.5 };
    return {
      family: "qwen2",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
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
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};

/** The rule by which layers of Qwen have windows. */
export function qwenWindows(json: z.infer<z.ZodObject<typeof qwenWindowKeys>>) {
  return {
    window: json.use_sliding_window ? json.sliding_window : undefined,
    types: json.layer_types,
    isWindowed: (layer: number) => layer >= json.max_window_layers,
  };
}

export function qwenWindowsToJson(config: Parameters<typeof windowsToJson>[0]): Record<string, unknown> {
  const windows = windowsToJson(config);
  return { ...windows, use_sliding_window: windows.sliding_window !== null };
}
