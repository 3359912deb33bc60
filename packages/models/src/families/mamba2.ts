import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";
import {
  limitFromJson,
  limitJson,
  limitToJson,
  recurrentFromJson,
  recurrentKeys,
  recurrentToJson,
} from "./recurrent-json.js";
import { count, partCount, positive } from "./size-json.js";

const schema = z.object({
  ...recurrentKeys,
  num_heads: partCount,
  head_dim: count,
  n_groups: count.default(8),
  state_size: count.default(128),
  conv_kernel: count.default(4),
  expand: positive.default(2),
  time_step_limit: z.tuple([limitJson, limitJson]).nullish(),
  hidden_act: z.literal("silu").default("silu"),
  use_bias: z.boolean().default(false),
  use_conv_bias: z.boolean().default(true),
});

/**
 * Mamba-2: selective state spaces of many heads, each of which fades as one.
 *
 * @see Dao and Gu 2024, Mamba-2, arXiv:2405.21060
 */
export const mamba2: Family<z.infer<typeof schema>, RecurrentConfig, RecurrentWeights> = {
  modelType: "mamba2",
  className: "Mamba2ForCausalLM",
  architecture: recurrent,
  schema,
  inertKeys: [
    "chunk_size",
    "norm_before_gate",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "rms_norm",
    "time_step_floor",
    "time_step_max",
    "time_step_min",
    "time_step_rank",
  ],
  toConfig: (json) => ({
    ...recurrentFromJson(json),
    family: "mamba2",
    modelDim: json.hidden_size,
    numLayers: json.num_hidden_layers,
    norm: { kind: "rms", eps: json.layer_norm_epsilon },
    mixer: {
      kind: "grouped-selective",
      innerDim: json.num_heads * json.head_dim,
      stateDim: json.state_size,
      convDim: json.conv_kernel,
      numHeads: json.num_heads,
      numGroups: json.n_groups,
      stepLimits: [
        limitFromJson(json.time_step_limit?.[0] ?? 0),
        limitFromJson(json.time_step_limit?.[1] ?? Number.POSITIVE_INFINITY),
      ],
      hasBias: json.use_bias,
      hasConvBias: json.use_conv_bias,
    },
  }),
  toJson: (config) => ({
    ...recurrentToJson(config),
    ...(config.mixer.kind === "grouped-selective"
      ? {
          num_heads: config.mixer.numHeads,
          head_dim: config.mixer.innerDim / config.mixer.numHeads,
          expand: config.mixer.innerDim / config.modelDim,
          n_groups: config.mixer.numGroups,
          state_size: config.mixer.stateDim,
          conv_kernel: config.mixer.convDim,
          time_step_limit: config.mixer.stepLimits.map(limitToJson),
          use_bias: config.mixer.hasBias,
          use_conv_bias: config.mixer.hasConvBias,
        }
      : {}),
  }),
  weights: () => ({
    rules: [
      one("embedding", "backbone.embeddings.weight"),
      one("layers.*.norm.weight", "backbone.layers.*.norm.weight"),
      ...linears("layers.*.groupedSelective", "backbone.layers.*.mixer", {
        input: "in_proj",
        conv: "conv1d",
        norm: "norm",
        output: "out_proj",
      }),
      one("layers.*.groupedSelective.stepBias", "backbone.layers.*.mixer.dt_bias"),
      one("layers.*.groupedSelective.logRate", "backbone.layers.*.mixer.A_log"),
      one("layers.*.groupedSelective.skip", "backbone.layers.*.mixer.D"),
      one("norm.weight", "backbone.norm_f.weight"),
      one("unembedding", "lm_head.weight"),
    ],
  }),
};
