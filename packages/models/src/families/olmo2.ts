import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames, norms } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(false),
});

/**
 * OLMo 2: Llama with norms on what each block gives and over all queries and keys of a token.
 *
 * @see OLMo Team 2024, arXiv:2501.00656
 */
export const olmo2: Family<z.infer<typeof schema>> = {
  modelType: "olmo2",
  className: "Olmo2ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "rms", eps: json.rms_norm_eps } as const;
    return {
      family: "olmo2",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      residual: { order: "sequential", norms: "post" },
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: {
        hasBias: json.attention_bias,
        scale: sizes.headDim ** -0.5,
        queryKeyNorm: { ...norm, over: "all" },
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attention,
      ...llamaNames.queryKeyNorms,
      ...norms("layers.*", "model.layers.*", {
        attentionPostNorm: "post_attention_layernorm",
        mlpPostNorm: "post_feedforward_layernorm",
      }),
      ...llamaNames.mlp,
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
