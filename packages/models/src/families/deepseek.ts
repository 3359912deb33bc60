import { z } from "zod";
import type { DecoderConfig, ExpertsConfig, MlpConfig } from "../config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { router, separateExperts, sharedExpert } from "./experts-names.js";
import type { WeightNames } from "./family.js";
import { linears, llamaNames, norms, one } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, partCount, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

/** What DeepSeek-V2 and V3 share: latent attention, the first layers plain, then experts with shared ones. */
export const deepseekKeys = {
  ...sizeKeys,
  ...ropeKeys,
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
  q_lora_rank: count.nullish(),
  kv_lora_rank: count,
  qk_nope_head_dim: count,
  qk_rope_head_dim: count,
  v_head_dim: count,
  n_routed_experts: partCount.nullish(),
  n_shared_experts: count.nullish(),
  num_experts_per_tok: partCount.nullish(),
  moe_intermediate_size: count,
  first_k_dense_replace: z.number().int().min(0).default(0),
  routed_scaling_factor: positive.default(1),
  norm_topk_prob: z.boolean().default(false),
  n_group: partCount.nullish(),
  topk_group: partCount.nullish(),
};

type DeepseekJson = z.infer<z.ZodObject<typeof deepseekKeys>>;

/** Keys that repeat what others say, or are about training. */
export const deepseekInertKeys = [
  "attention_dropout",
  "aux_loss_alpha",
  "ep_size",
  "mlp_bias",
  "moe_layer_freq",
  "num_nextn_predict_layers",
  "pretraining_tp",
  "qk_head_dim",
  "rope_interleave",
  "seq_aux",
];

export function deepseekConfig(
  json: DeepseekJson,
  routing: ExpertsConfig["routing"],
): Omit<DecoderConfig, "family"> {
  const headDim = json.qk_nope_head_dim + json.qk_rope_head_dim;
  const sizes = sizesFromJson({ ...json, head_dim: headDim });
  const positions = ropeFromJson(json, { ...sizes, headDim: json.qk_rope_head_dim });
  const dense: MlpConfig = { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false };
  const numDense = json.n_routed_experts ? json.first_k_dense_replace : 0;
  return {
    ...sizes,
    norm: { kind: "rms", eps: json.rms_norm_eps },
    positions: { ...positions, layout: "interleaved" },
    attention: {
      hasBias: json.attention_bias,
      scale: headDim ** -0.5 * yarnTemperature(positions.scaling),
      latent: {
        ...(json.q_lora_rank ? { queryRank: json.q_lora_rank } : {}),
        kvRank: json.kv_lora_rank,
        ropeDim: json.qk_rope_head_dim,
        valueDim: json.v_head_dim,
      },
    },
    mlp: json.n_routed_experts ? { ...dense, ...expertsOf(json, json.n_routed_experts, routing) } : dense,
    ...(numDense === 0
      ? {}
      : {
          layerOverrides: Array.from({ length: sizes.numLayers }, (_, layer) =>
            layer < numDense ? { mlp: dense } : {},
          ),
        }),
  };
}

/** YaRN's factor on the scores, squared because queries and keys each would carry it. @see arXiv:2309.00071, equation 21 */
function yarnTemperature(scaling: {
  readonly kind: string;
  readonly factor?: number;
  readonly mscaleAllDim?: number;
}): number {
  const { kind, factor = 1, mscaleAllDim = 0 } = scaling;
  return kind === "yarn" && mscaleAllDim > 0 && factor > 1
    ? (0.1 * mscaleAllDim * Math.log(factor) + 1) ** 2
    : 1;
}

function expertsOf(json: DeepseekJson, numExperts: number, routing: ExpertsConfig["routing"]) {
  const { n_group: groups, topk_group: kept, n_shared_experts: numShared } = json;
  const ffnDim = json.moe_intermediate_size;
  return {
    kind: "experts",
    ffnDim,
    experts: {
      numExperts,
      topK: json.num_experts_per_tok ?? 1,
      routing: {
        ...routing,
        scale: json.routed_scaling_factor,
        ...(routing.groups && groups && kept && groups > 1
          ? { groups: { ...routing.groups, count: groups, topK: kept } }
          : { groups: undefined }),
      },
      ...(numShared ? { shared: { ffnDim: numShared * ffnDim, isGated: false } } : {}),
    },
  } as const;
}

export function deepseekToJson(config: DecoderConfig): Record<string, unknown> {
  const { attention, mlp, headDim, layerOverrides } = config;
  const { latent } = attention;
  const experts = mlp.experts;
  const { head_dim, ...sizes } = sizesToJson(config);
  return {
    ...sizes,
    ...ropeToJson(config.positions),
    hidden_act: nameOfActivation(mlp.activation),
    rms_norm_eps: config.norm.eps,
    attention_bias: attention.hasBias,
    q_lora_rank: latent?.queryRank ?? null,
    kv_lora_rank: latent?.kvRank,
    qk_nope_head_dim: headDim - (latent?.ropeDim ?? 0),
    qk_rope_head_dim: latent?.ropeDim,
    v_head_dim: latent?.valueDim,
    n_routed_experts: experts?.numExperts ?? null,
    n_shared_experts: experts?.shared ? experts.shared.ffnDim / (mlp.ffnDim ?? 1) : null,
    num_experts_per_tok: experts?.topK ?? null,
    moe_intermediate_size: mlp.ffnDim ?? config.ffnDim,
    first_k_dense_replace: layerOverrides?.filter((layer) => layer.mlp).length ?? 0,
    routed_scaling_factor: experts?.routing.scale ?? 1,
    norm_topk_prob: experts?.routing.isNormalized ?? false,
    n_group: experts?.routing.groups?.count ?? null,
    topk_group: experts?.routing.groups?.topK ?? null,
  };
}

export function deepseekWeights({ attention, numLayers }: DecoderConfig): WeightNames {
  const query = attention.latent?.queryRank === undefined ? "q_proj" : "q_b_proj";
  return {
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...linears("layers.*.attention", "model.layers.*.self_attn", {
        queryDown: "q_a_proj",
        query,
        kvDown: "kv_a_proj_with_mqa",
        kvUp: "kv_b_proj",
        output: "o_proj",
      }),
      ...norms("layers.*.attention", "model.layers.*.self_attn", {
        queryDownNorm: "q_a_layernorm",
        kvDownNorm: "kv_a_layernorm",
      }),
      ...llamaNames.mlpNorm,
      ...llamaNames.mlp,
      router("mlp.gate"),
      one("layers.*.experts.choiceBias", "model.layers.*.mlp.gate.e_score_correction_bias"),
      ...separateExperts("mlp"),
      ...sharedExpert("mlp.shared_experts"),
      ...llamaNames.last,
    ],
    // The layer after the last predicts one token further (V3); it takes no part in decoding.
    ignored: [...llamaNames.ignored, new RegExp(`^model\\.layers\\.${numLayers}\\.`)],
  };
}
