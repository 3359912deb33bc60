import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { gptNames, summaryKeys } from "./gpt-json.js";
import { windowedLayers, windowsToJson } from "./layer-types.js";
import { linears, norms } from "./names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const kind = z.enum(["global", "local"]);

const schema = z.object({
  vocab_size: count,
  hidden_size: count,
  num_layers: partCount,
  num_heads: partCount,
  intermediate_size: count.nullish(),
  max_position_embeddings: count.default(2048),
  /** Kinds of layers and how often they repeat; the list may be written out beside it. */
  attention_types: z.array(z.tuple([z.array(kind), partCount])).default([[["global", "local"], 12]]),
  attention_layers: z.array(kind).nullish(),
  window_size: count.default(256),
  activation_function: z.enum(activationNames).default("gelu_new"),
  layer_norm_epsilon: positive.default(1e-5),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
});

/**
 * GPT-Neo: GPT-2 whose every second layer sees a window, with scores that are not scaled.
 *
 * @see Black et al. 2021, GPT-Neo, doi:10.5281/zenodo.5297715
 */
export const gptNeo: Family<z.infer<typeof schema>> = {
  modelType: "gpt_neo",
  className: "GPTNeoForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attention_dropout",
    "embed_dropout",
    "resid_dropout",
    "classifier_dropout",
    "gradient_checkpointing",
    ...summaryKeys,
  ],
  toConfig(json) {
    const kinds =
      json.attention_layers ??
      json.attention_types.flatMap(([block, times]) => Array.from({ length: times }, () => block).flat());
    const sizes = { numHeads: json.num_heads, numKvHeads: json.num_heads, numLayers: json.num_layers };
    return {
      family: "gpt_neo",
      vocabSize: json.vocab_size,
      modelDim: json.hidden_size,
      ffnDim: json.intermediate_size ?? 4 * json.hidden_size,
      ...sizes,
      headDim: headDimOf({ hidden_size: json.hidden_size, num_heads: json.num_heads }),
      maxSeqLen: json.max_position_embeddings,
      norm: { kind: "layer", eps: json.layer_norm_epsilon },
      positions: { kind: "learned" },
      mlp: { kind: "plain", activation: activationOf(json.activation_function), hasBias: true },
      ...windowedLayers(
        { ...sizes, attention: { hasBias: false, hasOutputBias: true, scale: 1 } },
        { window: json.window_size, types: undefined, isWindowed: (layer) => kinds[layer] === "local" },
      ),
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson(config) {
    const { sliding_window, layer_types } = windowsToJson(config);
    const layers = (layer_types as string[]).map((type) => (type === "full_attention" ? "global" : "local"));
    return {
      vocab_size: config.vocabSize,
      hidden_size: config.modelDim,
      num_layers: config.numLayers,
      num_heads: config.numHeads,
      intermediate_size: config.ffnDim,
      max_position_embeddings: config.maxSeqLen,
      attention_types: [[layers, 1]],
      window_size: sliding_window ?? 256,
      activation_function: nameOfActivation(config.mlp.activation),
      layer_norm_epsilon: config.norm.eps,
      initializer_range: config.initializerRange,
      tie_word_embeddings: config.tieEmbeddings,
      ...tokensToJson(config.tokens),
    };
  },
  weights: () => ({
    rules: [
      gptNames.embedding,
      gptNames.positions,
      ...norms("layers.*", "transformer.h.*", { attentionNorm: "ln_1", mlpNorm: "ln_2" }),
      ...linears("layers.*.attention", "transformer.h.*.attn.attention", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        output: "out_proj",
      }),
      ...linears("layers.*.mlp", "transformer.h.*.mlp", { up: "c_fc", down: "c_proj" }),
      ...gptNames.last,
    ],
    ignored: [/^transformer\.h\.\d+\.attn\.attention\.(?:masked_)?bias$/],
  }),
};
