import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { activationNames, nameOfActivation } from "./activation-names.js";
import { bertConfig, predictionKeys, predictionsFromJson, predictionsToJson } from "./encoder-json.js";
import { ignoredByEncoders, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";
import { linears, norms } from "./names.js";
import { count, partCount } from "./size-json.js";

const schema = z.object({
  vocab_size: count,
  dim: count,
  hidden_dim: count,
  n_layers: partCount,
  n_heads: partCount,
  max_position_embeddings: count.default(512),
  activation: z.enum(activationNames).default("gelu"),
  ...predictionKeys,
});

/**
 * DistilBERT: BERT with half its layers and without token types.
 *
 * @see Sanh et al. 2019, DistilBERT, arXiv:1910.01108
 */
export const distilbert: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "distilbert",
  className: "DistilBertForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "dropout",
    "qa_dropout",
    "seq_classif_dropout",
    "sinusoidal_pos_embds",
    "tie_weights_",
  ],
  toConfig(json) {
    const { dim, hidden_dim, n_layers, n_heads, activation, ...rest } = json;
    const config = bertConfig("distilbert", {
      ...rest,
      hidden_size: dim,
      intermediate_size: hidden_dim,
      num_hidden_layers: n_layers,
      num_attention_heads: n_heads,
      hidden_act: activation,
      type_vocab_size: 0,
      layer_norm_eps: 1e-12,
    });
    return {
      ...config,
      predictions: predictionsFromJson(json, {
        tokens: { activation: config.mlp.activation },
        transform: { activation: "relu", hasBias: true, hasNorm: false },
      }),
    };
  },
  toJson: (config) => ({
    vocab_size: config.vocabSize,
    dim: config.modelDim,
    hidden_dim: config.ffnDim,
    n_layers: config.numLayers,
    n_heads: config.numHeads,
    max_position_embeddings: config.maxSeqLen,
    activation: nameOfActivation(config.mlp.activation),
    ...predictionsToJson(config, "DistilBert"),
  }),
  weights: (config) => ({
    rules: [
      ...inputRules("distilbert"),
      ...linears("layers.*.attention", "distilbert.transformer.layer.*.attention", {
        query: "q_lin",
        key: "k_lin",
        value: "v_lin",
        output: "out_lin",
      }),
      ...norms("layers.*", "distilbert.transformer.layer.*", {
        attentionNorm: "sa_layer_norm",
        mlpNorm: "output_layer_norm",
      }),
      ...linears("layers.*.mlp", "distilbert.transformer.layer.*.ffn", { up: "lin1", down: "lin2" }),
      ...predictionRules(config, {
        tokens: {
          transform: "vocab_transform",
          norm: "vocab_layer_norm",
          bias: "vocab_projector.bias",
          table: "vocab_projector.weight",
        },
        texts: { transform: "pre_classifier", classes: "classifier" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "distilbert.",
    ignored: [...ignoredByEncoders, /^vocab_projector\.weight$/],
  }),
};
