import { z } from "zod";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import type { Seq2SeqWeights } from "../seq2seq/weights.js";
import { bartConfig, bartKeys, bartStackRules, bartToJson } from "./bart-json.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";
import { inertSeq2SeqKeys } from "./seq2seq-json.js";
import { count } from "./size-json.js";

const schema = z.object({
  ...bartKeys,
  num_mel_bins: count.default(80),
  max_source_positions: count.default(1500),
  max_target_positions: count.default(448),
  decoder_start_token_id: z.number().int().min(0).default(50_257),
});

/**
 * Whisper: an encoder of log-mel frames behind two convolutions, and a decoder of text.
 *
 * @see Radford et al. 2022, Whisper, arXiv:2212.04356
 */
export const whisper: Family<z.infer<typeof schema>, Seq2SeqConfig, Seq2SeqWeights> = {
  modelType: "whisper",
  className: "WhisperForConditionalGeneration",
  architecture: seq2seq,
  schema,
  inertKeys: [
    ...inertSeq2SeqKeys,
    "apply_spec_augment",
    "classifier_proj_size",
    "mask_feature_length",
    "mask_feature_min_masks",
    "mask_feature_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_time_prob",
    "median_filter_width",
    "use_weighted_layer_sum",
  ],
  toConfig: (json) =>
    bartConfig(json, {
      family: "whisper",
      norms: "pre",
      source: { kind: "frames", numBins: json.num_mel_bins },
      positions: { kind: "learned", offset: 0 },
      hasEmbeddingNorm: false,
      hasLastNorm: true,
      hasKeyBias: false,
      head: { hasBias: false },
      sourceLen: json.max_source_positions,
      targetLen: json.max_target_positions,
    }),
  toJson: (config) => ({
    ...bartToJson(config),
    num_mel_bins: config.source.kind === "frames" ? config.source.numBins : 80,
    max_source_positions: config.encoder.maxSeqLen,
    max_target_positions: config.decoder.maxSeqLen,
  }),
  weights: () => ({
    rules: [
      one("embedding", "model.decoder.embed_tokens.weight"),
      ...linears("encoder", "model.encoder", { conv1: "conv1", conv2: "conv2" }),
      ...bartStackRules(),
      one("unembedding", "proj_out.weight"),
    ],
  }),
};
