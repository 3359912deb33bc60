import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { bertConfig, bertKeys, bertToJson, inertBertKeys, predictionsFromJson } from "./encoder-json.js";
import { bertLayerRules, ignoredByEncoders, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";

const schema = z.object({ ...bertKeys, pad_token_id: z.number().int().min(0).default(1) });

/**
 * RoBERTa: BERT whose positions are counted from the padding token's id on. Also XLM-RoBERTa and CamemBERT.
 *
 * @see Liu et al. 2019, RoBERTa, arXiv:1907.11692
 */
export const roberta: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "roberta",
  aliases: ["xlm-roberta", "camembert"],
  className: "RobertaForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: inertBertKeys,
  toConfig(json) {
    const config = bertConfig("roberta", json);
    return {
      ...config,
      // The rows of the table up to the padding token's are no positions of tokens.
      maxSeqLen: json.max_position_embeddings - json.pad_token_id - 1,
      inputs: { numTypes: json.type_vocab_size, positions: "counted" },
      predictions: predictionsFromJson(json, {
        tokens: { activation: "gelu" },
        transform: { activation: "tanh", hasBias: true, hasNorm: false },
      }),
    };
  },
  toJson: (config) => ({
    ...bertToJson(config, "Roberta"),
    max_position_embeddings: config.maxSeqLen + (config.tokens.pad ?? 1) + 1,
  }),
  weights: (config) => ({
    rules: [
      ...inputRules("roberta"),
      ...bertLayerRules("roberta"),
      ...predictionRules(config, {
        tokens: {
          transform: "lm_head.dense",
          norm: "lm_head.layer_norm",
          bias: "lm_head.bias",
          table: "lm_head.decoder.weight",
        },
        texts: { transform: "classifier.dense", classes: "classifier.out_proj" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "roberta.",
    ignored: [...ignoredByEncoders, /^lm_head\.decoder\./, /^roberta\.pooler\./],
  }),
};
