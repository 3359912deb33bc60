import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const id = z.number().int().min(0);

const schema = z.object({
  vocab_size: count.default(130_528),
  hidden_size: count.default(4096),
  inner_hidden_size: count.default(16_384),
  num_layers: partCount.default(28),
  num_attention_heads: partCount.default(32),
  max_sequence_length: count.default(2048),
  layernorm_epsilon: positive.default(1e-5),
  tie_word_embeddings: z.boolean().default(true),
  position_encoding_2d: z.literal(true).default(true),
  /** Checkpoints quantised by the authors' own kernels, and those with a trained prefix, are others. */
  quantization_bit: z.literal(0).nullish(),
  pre_seq_len: z.null().optional(),
  prefix_projection: z.literal(false).default(false),
  ...tokenKeys,
  bos_token_id: id.default(130_004),
  eos_token_id: tokenKeys.eos_token_id.default(130_005),
  gmask_token_id: id.default(130_001),
  mask_token_id: id.default(130_000),
});

/**
 * ChatGLM-6B: the context up to the start token is read before and behind; half of each head turns by the place in the context, half by
 * that in the answer; blocks add to their normed input, times sqrt(2 L).
 *
 * @see Du et al. 2021, GLM, arXiv:2103.10360, section 2; Zeng et al. 2022, GLM-130B, arXiv:2210.02414, section 2.1 (DeepNorm, rotary)
 * Differs from the published code: marks count where they stand before the start token only; scores are not divided by the layer's number
 * and multiplied again.
 */
export const chatglm: Family<z.infer<typeof schema>> = {
  modelType: "chatglm",
  className: "ChatGLMForConditionalGeneration",
  architecture: decoder,
  schema,
  inertKeys: ["unk_token_id"],
  toConfig(json) {
    const { hidden_size, num_attention_heads, num_layers } = json;
    const headDim = headDimOf({ hidden_size, num_attention_heads });
    checkHead(headDim);
    return {
      family: "chatglm",
      vocabSize: json.vocab_size,
      modelDim: hidden_size,
      ffnDim: json.inner_hidden_size,
      numLayers: num_layers,
      numHeads: num_attention_heads,
      numKvHeads: num_attention_heads,
      headDim,
      maxSeqLen: json.max_sequence_length,
      initializerRange: 0.02,
      tieEmbeddings: json.tie_word_embeddings,
      tokens: tokensFromJson(json),
      norm: { kind: "layer", eps: json.layernorm_epsilon },
      positions: { kind: "rope", theta: 10_000, scaling: { kind: "default" } },
      residual: {
        order: "sequential",
        norms: "pre",
        addsToNorm: true,
        streamScale: Math.sqrt(2 * num_layers),
      },
      mlp: { kind: "plain", activation: "gelu-tanh", hasBias: true },
      attention: { hasBias: true, scale: headDim ** -0.5 },
      isPrefixLm: true,
      span: { startId: json.bos_token_id, markIds: [json.gmask_token_id, json.mask_token_id] },
    };
  },
  toJson({ span, ...config }) {
    const [gmask_token_id, mask_token_id] = span?.markIds ?? [];
    return {
      vocab_size: config.vocabSize,
      hidden_size: config.modelDim,
      inner_hidden_size: config.ffnDim,
      num_layers: config.numLayers,
      num_attention_heads: config.numHeads,
      max_sequence_length: config.maxSeqLen,
      layernorm_epsilon: config.norm.eps,
      tie_word_embeddings: config.tieEmbeddings,
      position_encoding_2d: true,
      ...tokensToJson(config.tokens),
      gmask_token_id,
      mask_token_id,
    };
  },
  weights: ({ numHeads }) => ({
    rules: [
      one("embedding", "transformer.word_embeddings.weight"),
      ...norms("layers.*", "transformer.layers.*", {
        attentionNorm: "input_layernorm",
        mlpNorm: "post_attention_layernorm",
      }),
      // One matrix, with query, key and value head by head.
      ...linears(
        "layers.*.attention",
        "transformer.layers.*.attention",
        { "query key value": "query_key_value" },
        { groups: numHeads },
      ),
      ...linears("layers.*.attention", "transformer.layers.*.attention", { output: "dense" }),
      ...linears("layers.*.mlp", "transformer.layers.*.mlp", { up: "dense_h_to_4h", down: "dense_4h_to_h" }),
      one("norm.weight", "transformer.final_layernorm.weight"),
      one("norm.bias", "transformer.final_layernorm.bias"),
      one("unembedding", "lm_head.weight"),
    ],
    ignored: [/^transformer\.layers\.\d+\.attention\.rotary_emb\.inv_freq$/],
  }),
};

function checkHead(headDim: number): void {
  if (headDim % 4 === 0) return;
  const message = `parseConfig: heads must have a multiple of 4 features, whose halves turn in pairs; got ${headDim}. Check hidden_size and num_attention_heads.`;
  throw new HeddleError("config", message, { headDim });
}
