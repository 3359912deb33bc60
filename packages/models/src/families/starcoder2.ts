import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { windowFromJson, windowKey, windowToJson } from "./layer-types.js";
import { linears, llamaNames } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  tie_word_embeddings: z.boolean().default(true),
  hidden_act: z.enum(activationNames).default("gelu_pytorch_tanh"),
  norm_epsilon: positive.default(1e-5),
  ...windowKey,
  use_bias: z.boolean().default(true),
});

/**
 * StarCoder2: grouped queries and rotary positions, with the layer norms, biases and plain feed-forward of GPT-2.
 *
 * @see Lozhkov et al. 2024, arXiv:2402.19173
 */
export const starcoder2: Family<z.infer<typeof schema>> = {
  modelType: "starcoder2",
  className: "Starcoder2ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "attention_softmax_in_fp32",
    "embedding_dropout",
    "residual_dropout",
    "layer_norm_epsilon",
    "mlp_type",
    "norm_type",
    "scale_attention_softmax_in_fp32",
    "scale_attn_weights",
  ],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "starcoder2",
      ...sizes,
      norm: { kind: "layer", eps: json.norm_epsilon },
      positions: ropeFromJson(json, sizes),
      mlp: { kind: "plain", activation: activationOf(json.hidden_act), hasBias: json.use_bias },
      attention: {
        hasBias: json.use_bias,
        scale: sizes.headDim ** -0.5,
        ...windowFromJson(json),
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(config.mlp.activation),
    norm_epsilon: config.norm.eps,
    ...windowToJson(config),
    use_bias: config.attention.hasBias,
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      ...llamaNames.mlpNorm,
      ...linears("layers.*.mlp", "model.layers.*.mlp", { up: "c_fc", down: "c_proj" }),
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
