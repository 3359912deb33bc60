import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";
import { limitFromJson, limitJson, limitToJson, unboundedSeqLen } from "./recurrent-json.js";
import { count, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  hidden_size: count,
  num_hidden_layers: count,
  num_heads: count,
  head_dim: count,
  n_groups: count.default(8),
  state_size: count.default(128),
  conv_kernel: count.default(4),
  expand: positive.default(2),
  time_step_limit: z.tuple([limitJson, limitJson]).nullish(),
  hidden_act: z.literal("silu").default("silu"),
  layer_norm_epsilon: positive.default(1e-5),
  use_bias: z.boolean().default(false),
  use_conv_bias: z.boolean().default(true),
  initializer_range: positive.default(0.1),
  tie_word_embeddings: z.boolean().default(false),
  ...tokenKeys,
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
    family: "mamba2",
    vocabSize: json.vocab_size,
    modelDim: json.hidden_size,
    numLayers: json.num_hidden_layers,
    maxSeqLen: unboundedSeqLen,
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
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.initializer_range,
    tokens: tokensFromJson(json),
  }),
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    num_hidden_layers: config.numLayers,
    layer_norm_epsilon: config.norm.eps,
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
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
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
