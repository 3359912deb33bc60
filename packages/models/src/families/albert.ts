import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { activationNames } from "./activation-names.js";
import { bertConfig, bertKeys, bertToJson, inertBertKeys, predictionsFromJson } from "./encoder-json.js";
import { ignoredByEncoders, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, partCount } from "./size-json.js";

const schema = z.object({
  ...bertKeys,
  embedding_size: count.default(128),
  hidden_act: z.enum(activationNames).default("gelu_new"),
  num_hidden_groups: partCount.default(1),
  inner_group_num: z.literal(1).default(1),
});

const group = "albert.encoder.albert_layer_groups.*.albert_layers.0";

/**
 * ALBERT: BERT with narrow tables whose layers share their weights.
 *
 * @see Lan et al. 2019, ALBERT, arXiv:1909.11942
 */
export const albert: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "albert",
  className: "AlbertForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: [...inertBertKeys, "down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"],
  toConfig(json) {
    const config = bertConfig("albert", json);
    return {
      ...config,
      inputs: { ...config.inputs, dim: json.embedding_size },
      numLayerSets: json.num_hidden_groups,
      predictions: predictionsFromJson(json, {
        tokens: { activation: config.mlp.activation },
        transform: { activation: "tanh", hasBias: true, hasNorm: false },
      }),
    };
  },
  toJson: (config) => ({
    ...bertToJson(config, "Albert"),
    embedding_size: config.inputs.dim ?? config.modelDim,
    num_hidden_groups: config.numLayerSets ?? config.numLayers,
    inner_group_num: 1,
  }),
  weights: (config) => ({
    rules: [
      ...inputRules("albert"),
      one("embeddingProjection.weight", "albert.encoder.embedding_hidden_mapping_in.weight"),
      one("embeddingProjection.bias", "albert.encoder.embedding_hidden_mapping_in.bias"),
      ...linears("layers.*.attention", `${group}.attention`, {
        query: "query",
        key: "key",
        value: "value",
        output: "dense",
      }),
      ...norms("layers.*", group, { attentionNorm: "attention.LayerNorm", mlpNorm: "full_layer_layer_norm" }),
      ...linears("layers.*.mlp", group, { up: "ffn", down: "ffn_output" }),
      ...predictionRules(config, {
        tokens: {
          transform: "predictions.dense",
          norm: "predictions.LayerNorm",
          bias: "predictions.bias",
          table: "predictions.decoder.weight",
        },
        texts: { transform: "albert.pooler", classes: "classifier" },
        classes: "classifier",
      }),
    ],
    optionalPrefix: "albert.",
    ignored: [
      ...ignoredByEncoders,
      /^predictions\.decoder\./,
      /^sop_classifier\./,
      ...(config.predictions.kind === "classes" ? [] : [/^albert\.pooler\./]),
    ],
  }),
};
