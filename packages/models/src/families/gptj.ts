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
  n_positions: count.default(2048),
  rotary_dim: count.nullish().default(64),
  activation_function: z.enum(activationNames).default("gelu_new"),
  layer_norm_epsilon: positive.default(1e-5),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  ...tokenKeys,
});

/**
 * GPT-J: attention and feed-forward side by side after one norm, neighbouring features of a part of each head turn.
 *
 * @see Wang and Komatsuzaki 2021, GPT-J-6B
 */
export const gptj: Family<z.infer<typeof schema>> = {
  modelType: "gptj",
  className: "GPTJForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "rotary",
    "n_ctx",
    "scale_attn_weights",
    "gradient_checkpointing",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
  ],
  toConfig(json) {
    const headDim = headDimOf({ n_embd: json.n_embd, n_head: json.n_head });
    return {
      family: "gptj",
      vocabSize: json.vocab_size,
      modelDim: json.n_embd,
      ffnDim: json.n_inner ?? 4 * json.n_embd,
      numLayers: json.n_layer,
      numHeads: json.n_head,
      numKvHeads: json.n_head,
      headDim,
      maxSeqLen: json.n_positions,
      norm: { kind: "layer", eps: json.layer_norm_epsilon },
      positions: {
        kind: "rope",
        theta: 10_000,
        scaling: { kind: "default" },
        rotaryDim: json.rotary_dim ?? headDim,
        layout: "interleaved",
      },
      residual: { order: "parallel", norms: "pre", sharesNorm: true },
      mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
      attention: { hasBias: false, scale: headDim ** -0.5 },
      head: { hasBias: true },
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    n_embd: config.modelDim,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    n_inner: config.ffnDim,
    n_positions: config.maxSeqLen,
    rotary_dim: config.positions.kind === "rope" ? config.positions.rotaryDim : undefined,
    activation_function: nameOfActivation(config.mlp.activation),
    layer_norm_epsilon: config.norm.eps,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
  weights: () => ({
    rules: [
      one("embedding", "transformer.wte.weight"),
      ...norms("layers.*", "transformer.h.*", { attentionNorm: "ln_1" }),
      ...linears("layers.*.attention", "transformer.h.*.attn", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        output: "out_proj",
      }),
      ...linears("layers.*.mlp", "transformer.h.*.mlp", { up: "fc_in", down: "fc_out" }),
      one("norm.weight", "transformer.ln_f.weight"),
      one("norm.bias", "transformer.ln_f.bias"),
      one("unembedding", "lm_head.weight"),
      one("unembeddingBias", "lm_head.bias"),
    ],
    ignored: [/^transformer\.h\.\d+\.attn\.(?:masked_)?bias$/],
  }),
};
