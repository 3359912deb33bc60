import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { bertConfig, bertKeys, bertToJson, inertBertKeys, predictionsFromJson } from "./encoder-json.js";
import { bertLayerRules, ignoredByEncoders, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";
import { one } from "./names.js";
import { count } from "./size-json.js";

const schema = z.object({ ...bertKeys, embedding_size: count.nullish() });

/**
 * ELECTRA's generator: BERT with narrow tables; and classifiers on its discriminator.
 *
 * @see Clark et al. 2020, ELECTRA, arXiv:2003.10555
 */
export const electra: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "electra",
  className: "ElectraForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: inertBertKeys,
  toConfig(json) {
    const config = bertConfig("electra", json);
    return {
      ...config,
      inputs: { ...config.inputs, dim: json.embedding_size ?? 128 },
      predictions: predictionsFromJson(json, {
        tokens: { activation: "gelu" },
        transform: { activation: "gelu", hasBias: true, hasNorm: false },
      }),
    };
  },
  toJson: (config) => ({
    ...bertToJson(config, "Electra"),
    embedding_size: config.inputs.dim ?? config.modelDim,
  }),
  weights: (config) => ({
    rules: [
      ...inputRules("electra"),
      one("embeddingProjection.weight", "electra.embeddings_project.weight"),
      one("embeddingProjection.bias", "electra.embeddings_project.bias"),
      ...bertLayerRules("electra"),
      ...predictionRules(config, {
        tokens: {
          transform: "generator_predictions.dense",
          norm: "generator_predictions.LayerNorm",
          bias: "generator_lm_head.bias",
          table: "generator_lm_head.weight",
        },
        texts: { transform: "classifier.dense", classes: "classifier.out_proj" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "electra.",
    ignored: [...ignoredByEncoders, /^generator_lm_head\.weight$/, /^discriminator_predictions\./],
  }),
};
