import { z } from "zod";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import type { Seq2SeqWeights } from "../seq2seq/weights.js";
import { bartConfig, bartKeys, bartStackRules, bartToJson } from "./bart-json.js";
import type { Family } from "./family.js";
import { one } from "./names.js";
import { inertSeq2SeqKeys } from "./seq2seq-json.js";
import { count } from "./size-json.js";

const schema = z.object({
  ...bartKeys,
  max_position_embeddings: count.default(1024),
  // Early releases spelt out what makes a BART; other values would be another model.
  normalize_before: z.literal(false).nullish(),
  normalize_embedding: z.literal(true).nullish(),
  add_final_layer_norm: z.literal(false).nullish(),
  static_position_embeddings: z.literal(false).nullish(),
  extra_pos_embeddings: z.literal(2).nullish(),
});

/**
 * BART: an encoder-decoder with norms on sums and learned positions.
 *
 * @see Lewis et al. 2019, BART, arXiv:1910.13461
 */
export const bart: Family<z.infer<typeof schema>, Seq2SeqConfig, Seq2SeqWeights> = {
  modelType: "bart",
  className: "BartForConditionalGeneration",
  architecture: seq2seq,
  schema,
  inertKeys: [...inertSeq2SeqKeys, "add_bias_logits"],
  toConfig: (json) =>
    bartConfig(json, {
      family: "bart",
      norms: "sum",
      source: { kind: "tokens" },
      positions: { kind: "learned", offset: 2 },
      hasEmbeddingNorm: true,
      hasLastNorm: false,
      hasKeyBias: true,
      head: { hasBias: true },
      sourceLen: json.max_position_embeddings,
      targetLen: json.max_position_embeddings,
    }),
  toJson: (config) => ({ ...bartToJson(config), max_position_embeddings: config.maxSeqLen }),
  weights: () => ({
    rules: [
      one("embedding", "model.shared.weight"),
      ...bartStackRules(),
      one("unembedding", "lm_head.weight"),
      one("unembeddingBias", "final_logits_bias"),
    ],
    ignored: [/^model\.(?:encoder|decoder)\.embed_tokens\.weight$/],
  }),
};
