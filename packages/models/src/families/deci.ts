import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames, llamaRules } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  num_key_value_heads_per_layer: z.array(partCount),
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(false),
});

/**
 * DeciLM: Llama with a number of key heads of its own in each layer, found by architecture search.
 *
 * @see Deci 2023, DeciLM-6B and DeciLM-7B (variable grouped-query attention)
 */
export const deci: Family<z.infer<typeof schema>> = {
  modelType: "deci",
  className: "DeciLMForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "naive_attention_prefill",
    "naive_attention_decode_batched",
    "naive_attention_decode_single",
    "pretraining_tp",
  ],
  toConfig(json) {
    const heads = json.num_key_value_heads_per_layer;
    const sizes = sizesFromJson({ ...json, num_key_value_heads: Math.max(...heads) });
    if (heads.length !== sizes.numLayers || heads.some((number) => sizes.numHeads % number !== 0)) {
      const message = `parseConfig: num_key_value_heads_per_layer must give each of ${sizes.numLayers} layers a divisor of ${sizes.numHeads} heads; got ${heads.join(", ")}. Check the config.json.`;
      throw new HeddleError("config", message, { num_key_value_heads_per_layer: heads });
    }
    return {
      family: "deci",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: { hasBias: json.attention_bias, scale: sizes.headDim ** -0.5 },
      layerOverrides: heads.map((numKvHeads) => ({ numKvHeads })),
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    num_key_value_heads_per_layer: config.layerOverrides?.map(({ numKvHeads }) => numKvHeads),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  }),
  weights: () => ({ rules: llamaRules, ignored: llamaNames.ignored }),
};
