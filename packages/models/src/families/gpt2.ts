import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  vocab_size: count,
  n_embd: count,
  n_layer: partCount,
  n_head: partCount,
  n_inner: count.nullish(),
  n_positions: count.default(1024),
  activation_function: z.enum(activationNames).default("gelu_new"),
  layer_norm_epsilon: positive.default(1e-5),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  ...tokenKeys,
});

/**
 * GPT-2: learned positions, layer norms before each block, plain feed-forward with gelu, biases everywhere.
 *
 * @see Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
 */
export const gpt2: Family<z.infer<typeof schema>> = {
  modelType: "gpt2",
  className: "GPT2LMHeadModel",
  architecture: decoder,
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
  toConfig(json) {
    const headDim = headDimOf({ n_embd: json.n_embd, n_head: json.n_head });
    const attention = { hasBias: true, scale: json.scale_attn_weights ? headDim ** -0.5 : 1 };
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
      attention,
      ...(json.scale_attn_by_inverse_layer_idx
        ? {
            layerOverrides: Array.from({ length: json.n_layer }, (_, layer) => ({
              attention: { ...attention, scale: attention.scale / (layer + 1) },
            })),
          }
        : {}),
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
    scale_attn_by_inverse_layer_idx: config.layerOverrides !== undefined,
    tie_word_embeddings: config.tieEmbeddings,
    vocab_size: config.vocabSize,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "transformer.wte.weight"),
      one("positionEmbedding", "transformer.wpe.weight"),
      ...norms("layers.*", "transformer.h.*", { attentionNorm: "ln_1" }),
      // Stored as [in, out] ("Conv1D"), and the three of attention as one.
      ...linears(
        "layers.*.attention",
        "transformer.h.*.attn",
        { "query key value": "c_attn", output: "c_proj" },
        { isTransposed: true },
      ),
      ...norms("layers.*", "transformer.h.*", { mlpNorm: "ln_2" }),
      ...linears(
        "layers.*.mlp",
        "transformer.h.*.mlp",
        { up: "c_fc", down: "c_proj" },
        { isTransposed: true },
      ),
      one("norm.weight", "transformer.ln_f.weight"),
      one("norm.bias", "transformer.ln_f.bias"),
      one("unembedding", "lm_head.weight"),
    ],
    optionalPrefix: "transformer.",
    ignored: [/^transformer\.h\.\d+\.attn\.(?:masked_)?bias$/],
  }),
};
