import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";
import { recurrentFromJson, recurrentKeys, recurrentToJson } from "./recurrent-json.js";
import { count, partCount, positive } from "./size-json.js";

const schema = z.object({
  ...recurrentKeys,
  num_hidden_layers: partCount.optional(),
  n_layer: partCount.optional(),
  state_size: count.default(16),
  conv_kernel: count.default(4),
  expand: positive.default(2),
  intermediate_size: count.nullish(),
  d_inner: count.nullish(),
  time_step_rank: z.union([count, z.literal("auto")]).default("auto"),
  hidden_act: z.literal("silu").default("silu"),
  use_bias: z.boolean().default(false),
  use_conv_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(true),
});

/**
 * Mamba: a selective state space in every layer, no attention.
 *
 * @see Gu and Dao 2023, Mamba, arXiv:2312.00752
 */
export const mamba: Family<z.infer<typeof schema>, RecurrentConfig, RecurrentWeights> = {
  modelType: "mamba",
  className: "MambaForCausalLM",
  architecture: recurrent,
  schema,
  inertKeys: [
    "fused_add_norm",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "rms_norm",
    "ssm_cfg",
    "d_model",
    "pad_vocab_size_multiple",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "use_associative_scan",
    "use_mambapy",
  ],
  toConfig: (json) => ({
    ...recurrentFromJson(json),
    family: "mamba",
    modelDim: json.hidden_size,
    numLayers: json.num_hidden_layers ?? json.n_layer ?? 32,
    norm: { kind: "rms", eps: json.layer_norm_epsilon },
    mixer: {
      kind: "selective",
      innerDim: json.intermediate_size ?? json.d_inner ?? Math.floor(json.expand * json.hidden_size),
      stateDim: json.state_size,
      convDim: json.conv_kernel,
      stepRank: json.time_step_rank === "auto" ? Math.ceil(json.hidden_size / 16) : json.time_step_rank,
      hasBias: json.use_bias,
      hasConvBias: json.use_conv_bias,
    },
  }),
  toJson: (config) => ({
    ...recurrentToJson(config),
    ...(config.mixer.kind === "selective"
      ? {
          intermediate_size: config.mixer.innerDim,
          expand: config.mixer.innerDim / config.modelDim,
          state_size: config.mixer.stateDim,
          conv_kernel: config.mixer.convDim,
          time_step_rank: config.mixer.stepRank,
          use_bias: config.mixer.hasBias,
          use_conv_bias: config.mixer.hasConvBias,
        }
      : {}),
  }),
  weights: () => ({
    rules: [
      one("embedding", "backbone.embeddings.weight"),
      one("layers.*.norm.weight", "backbone.layers.*.norm.weight"),
      ...linears("layers.*.selective", "backbone.layers.*.mixer", {
        input: "in_proj",
        conv: "conv1d",
        parameters: "x_proj",
        step: "dt_proj",
        output: "out_proj",
      }),
      one("layers.*.selective.logRate", "backbone.layers.*.mixer.A_log"),
      one("layers.*.selective.skip", "backbone.layers.*.mixer.D"),
      one("norm.weight", "backbone.norm_f.weight"),
      one("unembedding", "lm_head.weight"),
    ],
  }),
};
