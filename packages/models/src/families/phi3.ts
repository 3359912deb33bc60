import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { windowFromJson, windowKey, windowToJson } from "./layer-types.js";
import { linears, llamaNames } from "./names.js";
import { partialRotaryKey, partialRotaryToJson, ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...partialRotaryKey,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-5),
  ...windowKey,
});

/**
 * Phi-3 and Phi-4: Llama with query, key and value stored as one matrix, gate and up as another.
 *
 * @see Abdin et al. 2024, arXiv:2404.14219
 */
export const phi3: Family<z.infer<typeof schema>> = {
  modelType: "phi3",
  className: "Phi3ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "embd_pdrop", "resid_pdrop", "attention_bias"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "phi3",
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
    ...partialRotaryToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    ...windowToJson(config),
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...linears("layers.*.attention", "model.layers.*.self_attn", {
        "query key value": "qkv_proj",
        output: "o_proj",
      }),
      ...llamaNames.mlpNorm,
      ...llamaNames.fusedMlp,
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
