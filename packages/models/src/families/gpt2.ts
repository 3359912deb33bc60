import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { gptFromJson, gptKeys, gptNames, gptToJson, summaryKeys } from "./gpt-json.js";
import { linears, norms } from "./names.js";

const schema = z.object({
  ...gptKeys,
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
});

/**
 * GPT-2: learned positions, layer norms before each block, plain feed-forward with gelu, biases everywhere.
 *
 * @see Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
 */
export const gpt2: Family<z.infer<typeof schema>> = {
  modelType: "gpt2",
  className: "GPT2LMHeadModel",
  architecture: decoder,
  schema,
  inertKeys: ["attn_pdrop", "embd_pdrop", "resid_pdrop", "n_ctx", "reorder_and_upcast_attn", ...summaryKeys],
  toConfig(json) {
    const sizes = gptFromJson(json);
    const attention = { hasBias: true, scale: json.scale_attn_weights ? sizes.headDim ** -0.5 : 1 };
    return {
      family: "gpt2",
      ...sizes,
      positions: { kind: "learned" },
      attention,
      ...(json.scale_attn_by_inverse_layer_idx
        ? {
            layerOverrides: Array.from({ length: json.n_layer }, (_, layer) => ({
              attention: { ...attention, scale: attention.scale / (layer + 1) },
            })),
          }
        : {}),
    };
  },
  toJson: (config) => ({
    ...gptToJson(config),
    scale_attn_weights: config.attention.scale !== 1 || config.headDim === 1,
    scale_attn_by_inverse_layer_idx: config.layerOverrides !== undefined,
  }),
  weights: () => ({
    rules: [
      gptNames.embedding,
      gptNames.positions,
      ...norms("layers.*", "transformer.h.*", { attentionNorm: "ln_1" }),
      // Stored as [in, out] ("Conv1D"), and the three of attention as one.
      ...linears(
        "layers.*.attention",
        "transformer.h.*.attn",
        { "query key value": "c_attn", output: "c_proj" },
        { isTransposed: true },
      ),
      ...norms("layers.*", "transformer.h.*", { mlpNorm: "ln_2" }),
      ...linears(
        "layers.*.mlp",
        "transformer.h.*.mlp",
        { up: "c_fc", down: "c_proj" },
        { isTransposed: true },
      ),
      ...gptNames.last,
    ],
    optionalPrefix: "transformer.",
    ignored: [/^transformer\.h\.\d+\.attn\.(?:masked_)?bias$/],
  }),
};
