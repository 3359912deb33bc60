import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { layerTypeKeys, windowedLayers, windowsToJson } from "./layer-types.js";
import { linears, llamaNames, one } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  ...layerTypeKeys,
  head_dim: sizeKeys.head_dim.default(64),
  hidden_act: z.literal("silu").default("silu"),
  rms_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(true),
  sliding_window: count.nullish().default(128),
  swiglu_limit: positive.default(7),
  num_local_experts: partCount,
  num_experts_per_tok: partCount.optional(),
  experts_per_token: partCount.optional(),
});

/**
 * gpt-oss: experts with clamped gates, sinks in the softmax, a window in every second layer, YaRN without rounding.
 *
 * @see OpenAI 2025, arXiv:2508.10925
 */
export const gptOss: Family<z.infer<typeof schema>> = {
  modelType: "gpt_oss",
  className: "GptOssForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "initial_context_length", "output_router_logits", "router_aux_loss_coef"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const attention = { hasBias: json.attention_bias, scale: sizes.headDim ** -0.5, hasSinks: true };
    return {
      family: "gpt_oss",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: ropeFromJson(json, { ...sizes, theta: 150_000 }),
      mlp: {
        kind: "experts",
        activation: "silu",
        hasBias: true,
        clamp: { limit: json.swiglu_limit, alpha: 1.702 },
        experts: {
          numExperts: json.num_local_experts,
          topK: json.num_experts_per_tok ?? json.experts_per_token ?? 4,
          routing: { scores: "chosen", isNormalized: false },
          hasRouterBias: true,
        },
      },
      ...windowedLayers(
        { ...sizes, attention },
        {
          window: json.sliding_window,
          types: json.layer_types,
          isWindowed: (layer) => layer % 2 === 0,
        },
      ),
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...windowsToJson(config),
    rms_norm_eps: config.norm.eps,
    attention_bias: config.attention.hasBias,
    swiglu_limit: config.mlp.clamp?.limit,
    num_local_experts: config.mlp.experts?.numExperts,
    num_experts_per_tok: config.mlp.experts?.topK,
  }),
  weights: ({ ffnDim }) => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      one("layers.*.attention.sinks", "model.layers.*.self_attn.sinks"),
      ...llamaNames.mlpNorm,
      ...linears("layers.*.experts", "model.layers.*.mlp", { router: "router" }),
      ...experts("gate up", "gate_up_proj", ffnDim),
      ...experts("down", "down_proj", 1),
      ...llamaNames.last,
    ],
  }),
};

/** All experts in one tensor [X, in, out], gate and up row by row in turns. */
function experts(ours: string, theirs: string, groups: number) {
  const paths = (part: string) => ours.split(" ").map((name) => `layers.*.experts.${name}.${part}`);
  const name = `model.layers.*.mlp.experts.${theirs}`;
  return [
    { paths: paths("weight"), name, isTransposed: true, axis: 1, groups },
    { paths: paths("bias"), name: `${name}_bias`, axis: 1, groups },
  ];
}
