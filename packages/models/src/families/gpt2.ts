import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family, WeightRule } from "./family.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const count = z.number().int().positive();

const schema = z.object({
  vocab_size: count,
  n_embd: count,
  n_layer: count,
  n_head: count,
  n_inner: count.nullish(),
  n_positions: count.default(1024),
  activation_function: z.enum(activationNames).default("gelu_new"),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * GPT-2: learned positions, layer norms before each block, plain feed-forward with gelu, biases everywhere.
 *
 * @see Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
 */
export const gpt2: Family<z.infer<typeof schema>> = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  schema,
  inertKeys: [
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "n_ctx",
    "reorder_and_upcast_attn",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
  ],
  toConfig(json): DecoderConfig {
    const headDim = json.n_embd / json.n_head;
    if (!Number.isInteger(headDim)) {
      const message = `parseConfig: n_embd must be a multiple of n_head; got n_embd ${json.n_embd}, n_head ${json.n_head}. Check the config.json.`;
      throw new HeddleError("config", message, { n_embd: json.n_embd, n_head: json.n_head });
    }
    return {
      family: "gpt2",
      vocabSize: json.vocab_size,
      modelDim: json.n_embd,
      ffnDim: json.n_inner ?? 4 * json.n_embd,
      numLayers: json.n_layer,
      numHeads: json.n_head,
      numKvHeads: json.n_head,
      headDim,
      maxSeqLen: json.n_positions,
      norm: { kind: "layer", eps: json.layer_norm_epsilon },
      positions: { kind: "learned" },
      mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
      attention: { hasBias: true, scale: json.scale_attn_weights ? headDim ** -0.5 : 1 },
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson: (config) => ({
    activation_function: nameOfActivation(config.mlp.activation),
    initializer_range: config.initializerRange,
    layer_norm_epsilon: config.norm.eps,
    n_embd: config.modelDim,
    n_head: config.numHeads,
    n_inner: config.ffnDim,
    n_layer: config.numLayers,
    n_positions: config.maxSeqLen,
    scale_attn_weights: config.attention.scale !== 1 || config.headDim === 1,
    tie_word_embeddings: config.tieEmbeddings,
    vocab_size: config.vocabSize,
    ...tokensToJson(config.tokens),
  }),
  weights: {
    rules: [
      { paths: ["embedding"], name: "transformer.wte.weight" },
      { paths: ["positionEmbedding"], name: "transformer.wpe.weight" },
      ...norm("layers.*.attentionNorm", "transformer.h.*.ln_1"),
      ...conv1d(["attention.query", "attention.key", "attention.value"], "attn.c_attn"),
      ...conv1d(["attention.output"], "attn.c_proj"),
      ...norm("layers.*.mlpNorm", "transformer.h.*.ln_2"),
      ...conv1d(["mlp.up"], "mlp.c_fc"),
      ...conv1d(["mlp.down"], "mlp.c_proj"),
      ...norm("norm", "transformer.ln_f"),
      { paths: ["unembedding"], name: "lm_head.weight" },
    ],
    optionalPrefix: "transformer.",
    ignored: [/^transformer\.h\.\d+\.attn\.(?:masked_)?bias$/],
  },
};

/** GPT-2 stores its linear weights as [in, out] ("Conv1D"), and the three of attention as one. */
function conv1d(paths: readonly string[], name: string): WeightRule[] {
  return [
    {
      paths: paths.map((path) => `layers.*.${path}.weight`),
      name: `transformer.h.*.${name}.weight`,
      isTransposed: true,
    },
    { paths: paths.map((path) => `layers.*.${path}.bias`), name: `transformer.h.*.${name}.bias` },
  ];
}

function norm(path: string, name: string): WeightRule[] {
  return ["weight", "bias"].map((part) => ({ paths: [`${path}.${part}`], name: `${name}.${part}` }));
}
