import { z } from "zod";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import {
  debertaConfig,
  debertaKeys,
  debertaPredictions,
  debertaToJson,
  ignoredByDeberta,
  inertDebertaKeys,
} from "./deberta.js";
import { bertBlockRules, inputRules, predictionRules } from "./encoder-names.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";

const schema = z.object({
  ...debertaKeys,
  position_buckets: z.number().int().default(-1),
  share_att_key: z.boolean().default(false),
  norm_rel_ebd: z.enum(["none", "layer_norm"]).default("none"),
  /** Only the larger v2 models convolve after their first layer: not here. */
  conv_kernel_size: z.literal(0).nullish(),
});

/**
 * DeBERTa v2 and v3: distances in logarithmic buckets, projected by the weights of keys and queries.
 *
 * @see He et al. 2021, DeBERTaV3, arXiv:2111.09543
 */
export const debertaV2: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "deberta-v2",
  className: "DebertaV2ForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: [...inertDebertaKeys, "conv_act"],
  toConfig(json) {
    const maxDistance =
      json.max_relative_positions < 1 ? json.max_position_embeddings : json.max_relative_positions;
    return debertaConfig("deberta-v2", json, {
      ...(json.position_buckets > 0 ? { span: json.position_buckets, maxDistance } : { span: maxDistance }),
      projections: json.share_att_key ? "shared" : "own",
      hasKeyBias: true,
      hasNorm: json.norm_rel_ebd === "layer_norm",
    });
  },
  toJson(config) {
    const { span = -1, maxDistance, projections, hasNorm = false } = config.disentangled ?? {};
    return {
      ...debertaToJson(config, "DebertaV2"),
      position_buckets: maxDistance === undefined ? -1 : span,
      max_relative_positions: maxDistance ?? span,
      share_att_key: projections === "shared",
      norm_rel_ebd: hasNorm ? "layer_norm" : "none",
    };
  },
  weights: (config) => ({
    rules: [
      ...inputRules("deberta"),
      one("relativeEmbedding", "deberta.encoder.rel_embeddings.weight"),
      one("relativeNorm.weight", "deberta.encoder.LayerNorm.weight"),
      one("relativeNorm.bias", "deberta.encoder.LayerNorm.bias"),
      ...linears("layers.*", "deberta.encoder.layer.*.attention", {
        "attention.query": "self.query_proj",
        "attention.key": "self.key_proj",
        "attention.value": "self.value_proj",
        relativeKey: "self.pos_key_proj",
        relativeQuery: "self.pos_query_proj",
        "attention.output": "output.dense",
      }),
      ...bertBlockRules("deberta.encoder.layer.*"),
      ...predictionRules(config, debertaPredictions),
    ],
    optionalPrefix: "deberta.",
    ignored: ignoredByDeberta,
  }),
};
