import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { bertConfig, bertKeys, bertToJson, inertBertKeys, predictionsFromJson } from "./encoder-json.js";
import { bertLayerRules, ignoredByEncoders, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";

const schema = z.object(bertKeys);

/**
 * BERT: masked tokens, or classes of texts or tokens.
 *
 * @see Devlin et al. 2018, BERT, arXiv:1810.04805
 */
export const bert: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "bert",
  className: "BertForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: inertBertKeys,
  toConfig(json) {
    const config = bertConfig("bert", json);
    return {
      ...config,
      predictions: predictionsFromJson(json, {
        tokens: { activation: config.mlp.activation },
        transform: { activation: "tanh", hasBias: true, hasNorm: false },
      }),
    };
  },
  toJson: (config) => bertToJson(config, "Bert"),
  weights: (config) => ({
    rules: [
      ...inputRules("bert"),
      ...bertLayerRules("bert"),
      ...predictionRules(config, {
        tokens: {
          transform: "cls.predictions.transform.dense",
          norm: "cls.predictions.transform.LayerNorm",
          bias: "cls.predictions.bias",
          table: "cls.predictions.decoder.weight",
        },
        texts: { transform: "bert.pooler.dense", classes: "classifier" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "bert.",
    earlyEndings: [
      ["LayerNorm.weight", "LayerNorm.gamma"],
      ["LayerNorm.bias", "LayerNorm.beta"],
    ],
    ignored: [
      ...ignoredByEncoders,
      /^cls\.predictions\.decoder\./,
      /^cls\.seq_relationship\./,
      ...(config.predictions.kind === "classes" ? [] : [/^bert\.pooler\./]),
    ],
  }),
};
