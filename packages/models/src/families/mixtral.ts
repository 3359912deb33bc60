import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { router, separateExperts } from "./experts-names.js";
import type { Family } from "./family.js";
import { windowFromJson, windowKey, windowToJson } from "./layer-types.js";
import { llamaNames } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-5),
  ...windowKey,
  num_local_experts: partCount.default(8),
  num_experts_per_tok: partCount.default(2),
});

/**
 * Mixtral: Mistral whose feed-forward is the best two of eight experts, weighed by the softmax over these two.
 *
 * @see Jiang et al. 2024, arXiv:2401.04088
 */
export const mixtral: Family<z.infer<typeof schema>> = {
  modelType: "mixtral",
  className: "MixtralForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    return {
      family: "mixtral",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, { ...sizes, theta: 1_000_000 }),
      mlp: {
        kind: "experts",
        activation: activationOf(json.hidden_act),
        hasBias: false,
        experts: {
          numExperts: json.num_local_experts,
          topK: json.num_experts_per_tok,
          routing: { scores: "softmax", isNormalized: true },
        },
      },
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
    hidden_act: nameOfActivation(config.mlp.activation),
    rms_norm_eps: config.norm.eps,
    ...windowToJson(config),
    num_local_experts: config.mlp.experts?.numExperts,
    num_experts_per_tok: config.mlp.experts?.topK,
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      ...llamaNames.mlpNorm,
      router("block_sparse_moe.gate"),
      ...separateExperts("block_sparse_moe", { gate: "w1", up: "w3", down: "w2" }),
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
