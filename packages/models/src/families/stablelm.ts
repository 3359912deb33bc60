import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { llamaNames } from "./names.js";
import { partialRotaryKey, partialRotaryToJson, ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  partial_rotary_factor: partialRotaryKey.partial_rotary_factor.default(0.25),
  hidden_act: z.enum(activationNames).default("silu"),
  layer_norm_eps: positive.default(1e-5),
  use_qkv_bias: z.boolean().default(false),
  qk_layernorm: z.boolean().default(false),
  use_parallel_residual: z.boolean().default(false),
});

/**
 * StableLM 2: Llama with layer norms, of which a part of each head turns; the 12B model has parallel blocks and a norm for
 * each head.
 *
 * @see Bellagente et al. 2024, arXiv:2402.17834
 */
export const stablelm: Family<z.infer<typeof schema>> = {
  modelType: "stablelm",
  className: "StableLmForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout", "hidden_dropout"],
  toConfig(json) {
    const sizes = sizesFromJson(json);
    const norm = { kind: "layer", eps: json.layer_norm_eps } as const;
    return {
      family: "stablelm",
      ...sizes,
      norm,
      positions: ropeFromJson(json, sizes),
      ...(json.use_parallel_residual
        ? { residual: { order: "parallel", norms: "pre", sharesNorm: true } }
        : {}),
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: {
        hasBias: json.use_qkv_bias,
        hasOutputBias: false,
        scale: sizes.headDim ** -0.5,
        ...(json.qk_layernorm ? { queryKeyNorm: { ...norm, learns: "scale", over: "own" } } : {}),
      },
    };
  },
  toJson: (config) => ({
    ...sizesToJson(config),
    ...ropeToJson(config.positions),
    ...partialRotaryToJson(config),
    hidden_act: nameOfActivation(config.mlp.activation),
    layer_norm_eps: config.norm.eps,
    use_qkv_bias: config.attention.hasBias,
    qk_layernorm: config.attention.queryKeyNorm !== undefined,
    use_parallel_residual: config.residual?.order === "parallel",
  }),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      // The norms of heads are stored one by one.
      ...["query", "key"].map((name) => ({
        paths: [`layers.*.attention.${name}Norm.weight[*]`],
        name: `model.layers.*.self_attn.${name[0]}_layernorm.norms.*.weight`,
      })),
      ...llamaNames.mlpNorm,
      ...llamaNames.mlp,
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
