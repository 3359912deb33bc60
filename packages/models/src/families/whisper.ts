import { z } from "zod";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import type { Seq2SeqWeights } from "../seq2seq/weights.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";
import { bartKeys, bartSizesToJson, bartStackRules, bartStacks, inertSeq2SeqKeys } from "./seq2seq-json.js";
import { count } from "./size-json.js";
import { tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  ...bartKeys,
  activation_function: z.enum(activationNames).default("gelu"),
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
  toConfig(json) {
    const model = {
      family: "whisper",
      vocabSize: json.vocab_size,
      maxSeqLen: json.max_target_positions,
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.init_std,
      tokens: tokensFromJson(json),
    };
    const stacks = bartStacks(
      model,
      json,
      {
        base: {
          norm: { kind: "layer", eps: 1e-5 },
          residual: { order: "sequential", norms: "pre" },
          mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
        },
        sourceLen: json.max_source_positions,
        targetLen: json.max_target_positions,
      },
      false,
    );
    return {
      ...model,
      ...stacks,
      modelDim: json.d_model,
      source: { kind: "frames", numBins: json.num_mel_bins },
      positions: { kind: "learned", offset: 0 },
      embedding: { hasNorm: false, ...(json.scale_embedding ? { scale: json.d_model ** 0.5 } : {}) },
      hasLastNorm: true,
      head: { hasBias: false },
      startId: json.decoder_start_token_id,
    };
  },
  toJson: ({ encoder, decoder, source, ...config }) => ({
    vocab_size: config.vocabSize,
    ...bartSizesToJson(encoder, decoder),
    activation_function: nameOfActivation(encoder.mlp.activation),
    num_mel_bins: source.kind === "frames" ? source.numBins : 80,
    max_source_positions: encoder.maxSeqLen,
    max_target_positions: decoder.maxSeqLen,
    scale_embedding: config.embedding.scale !== undefined,
    decoder_start_token_id: config.startId,
    is_encoder_decoder: true,
    init_std: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
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
