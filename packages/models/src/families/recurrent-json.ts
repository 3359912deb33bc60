import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import { count, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

/** Models without positions have no longest sequence of their own; callers want a number. */
export const unboundedSeqLen = 2 ** 20;

/** Keys of Mamba, Mamba-2 and RWKV; the defaults of the last two differ. */
export const recurrentKeys = {
  vocab_size: count,
  hidden_size: count,
  num_hidden_layers: partCount,
  layer_norm_epsilon: positive.default(1e-5),
  initializer_range: positive.default(0.1),
  tie_word_embeddings: z.boolean().default(false),
  ...tokenKeys,
};

type RecurrentJson = Pick<
  z.infer<z.ZodObject<typeof recurrentKeys>>,
  "vocab_size" | "initializer_range" | "tie_word_embeddings" | keyof typeof tokenKeys
>;

/** What every recurrent configuration has besides its layers. */
export function recurrentFromJson(
  json: RecurrentJson,
): Pick<RecurrentConfig, "vocabSize" | "maxSeqLen" | "tieEmbeddings" | "initializerRange" | "tokens"> {
  return {
    vocabSize: json.vocab_size,
    maxSeqLen: unboundedSeqLen,
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.initializer_range,
    tokens: tokensFromJson(json),
  };
}

/** What a configuration says under `recurrentKeys`. */
export function recurrentToJson(config: RecurrentConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    num_hidden_layers: config.numLayers,
    layer_norm_epsilon: config.norm.eps,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  };
}

/** A number that may be infinite; transformers writes {"__float__": "Infinity"}, older releases the bare word. */
export const limitJson = z.union([
  z.number(),
  z.enum(["Infinity", "-Infinity"]),
  z.strictObject({ __float__: z.enum(["Infinity", "-Infinity"]) }),
]);

export function limitFromJson(limit: z.infer<typeof limitJson>): number {
  return Number(typeof limit === "object" ? limit.__float__ : limit);
}

export function limitToJson(limit: number): z.infer<typeof limitJson> {
  if (Number.isFinite(limit)) return limit;
  return { __float__: limit > 0 ? "Infinity" : "-Infinity" };
}
