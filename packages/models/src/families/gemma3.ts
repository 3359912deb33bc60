import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { gemma2Config, gemma2Keys, gemma2Rules, gemma2ToJson } from "./gemma2.js";
import { windowedLayers } from "./layer-types.js";
import { llamaNames } from "./names.js";
import { ropeFromJson, ropeKeys } from "./rope-json.js";
import { count, positive } from "./size-json.js";

const schema = z.object({
  ...gemma2Keys,
  rope_theta: positive.nullish(),
  rope_local_base_freq: positive.default(10_000),
  /** One set for the layers that see everything and one for those with a window; older files have `rope_theta` beside it. */
  rope_parameters: z
    .object({ full_attention: ropeKeys.rope_parameters, sliding_attention: ropeKeys.rope_parameters })
    .nullish(),
  sliding_window_pattern: count.nullish(),
  _sliding_window_pattern: count.nullish(),
});

/**
 * Gemma 3 (text): norms of queries and keys, five layers with a window and positions of their own for each that sees everything.
 *
 * @see Gemma Team 2025, arXiv:2503.19786
 */
export const gemma3: Family<z.infer<typeof schema>> = {
  modelType: "gemma3_text",
  className: "Gemma3ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "cache_implementation"],
  toConfig(json): DecoderConfig {
    const { rope_parameters: ropes, ...rest } = json;
    const base = gemma2Config({ ...rest, rope_parameters: undefined });
    const attention = { ...base.attention, queryKeyNorm: { ...base.norm, over: "head" } } as const;
    const pattern = json._sliding_window_pattern ?? json.sliding_window_pattern ?? 6;
    const local = { rope_parameters: ropes?.sliding_attention, rope_theta: json.rope_local_base_freq };
    const global = { ...rest, rope_parameters: ropes?.full_attention };
    return {
      family: "gemma3_text",
      ...base,
      positions: ropeFromJson(global, { ...base, theta: 1_000_000 }),
      ...windowedLayers(
        { ...base, attention },
        {
          window: json.sliding_window,
          types: json.layer_types,
          isWindowed: (layer) => (layer + 1) % pattern !== 0,
          windowed: { positions: ropeFromJson(local, base) },
        },
      ),
    };
  },
  toJson(config) {
    const local = config.layerOverrides?.find(({ positions }) => positions)?.positions;
    return {
      ...gemma2ToJson(config),
      ...(local?.kind === "rope" ? { rope_local_base_freq: local.theta } : {}),
    };
  },
  weights: () => ({ rules: gemma2Rules, ignored: llamaNames.ignored }),
};
