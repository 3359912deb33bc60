import { z } from "zod";
import type { Seq2SeqConfig } from "../seq2seq/config.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import type { Seq2SeqWeights } from "../seq2seq/weights.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { one } from "./names.js";
import { bartKeys, bartSizesToJson, bartStackRules, bartStacks, inertSeq2SeqKeys } from "./seq2seq-json.js";
import { count } from "./size-json.js";
import { tokensFromJson, tokensToJson } from "./token-json.js";

const schema = z.object({
  ...bartKeys,
  activation_function: z.enum(activationNames).default("gelu"),
  max_position_embeddings: count.default(1024),
  decoder_start_token_id: z.number().int().min(0).default(2),
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
  toConfig(json) {
    const model = {
      family: "bart",
      vocabSize: json.vocab_size,
      maxSeqLen: json.max_position_embeddings,
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
          residual: { order: "sequential", norms: "sum" },
          mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
        },
        sourceLen: json.max_position_embeddings,
        targetLen: json.max_position_embeddings,
      },
      true,
    );
    return {
      ...model,
      ...stacks,
      modelDim: json.d_model,
      source: { kind: "tokens" },
      positions: { kind: "learned", offset: 2 },
      embedding: { hasNorm: true, ...(json.scale_embedding ? { scale: json.d_model ** 0.5 } : {}) },
      hasLastNorm: false,
      head: { hasBias: true },
      startId: json.decoder_start_token_id,
    };
  },
  toJson: ({ encoder, decoder, ...config }) => ({
    vocab_size: config.vocabSize,
    ...bartSizesToJson(encoder, decoder),
    activation_function: nameOfActivation(encoder.mlp.activation),
    max_position_embeddings: config.maxSeqLen,
    scale_embedding: config.embedding.scale !== undefined,
    decoder_start_token_id: config.startId,
    is_encoder_decoder: true,
    init_std: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  }),
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
