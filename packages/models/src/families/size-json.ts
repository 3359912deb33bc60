import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

export const count = z.number().int().positive();
export const positive = z.number().positive();

/** Layers, heads or experts: each is a part of the tree, so that a damaged number must not ask for a billion of them. */
export const partCount = count.max(1024);

/** Sizes as most of today's config.json files call them. */
export const sizeKeys = {
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: partCount,
  num_attention_heads: partCount,
  num_key_value_heads: partCount.nullish(),
  head_dim: count.nullish(),
  max_position_embeddings: count.default(2048),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  ...tokenKeys,
};

export type SizeJson = z.infer<z.ZodObject<typeof sizeKeys>>;

type Sizes = Pick<
  DecoderConfig,
  | "vocabSize"
  | "modelDim"
  | "ffnDim"
  | "numLayers"
  | "numHeads"
  | "numKvHeads"
  | "headDim"
  | "maxSeqLen"
  | "initializerRange"
  | "tieEmbeddings"
  | "tokens"
>;

/** @throws HeddleError "config" where heads do not divide what they share */
export function sizesFromJson(json: SizeJson): Sizes {
  const numHeads = json.num_attention_heads;
  const numKvHeads = json.num_key_value_heads ?? numHeads;
  const headDim =
    json.head_dim ?? headDimOf({ hidden_size: json.hidden_size, num_attention_heads: numHeads });
  checkGroups({ num_attention_heads: numHeads, num_key_value_heads: numKvHeads });
  return {
    vocabSize: json.vocab_size,
    modelDim: json.hidden_size,
    ffnDim: json.intermediate_size,
    numLayers: json.num_hidden_layers,
    numHeads,
    numKvHeads,
    headDim,
    maxSeqLen: json.max_position_embeddings,
    initializerRange: json.initializer_range,
    tieEmbeddings: json.tie_word_embeddings,
    tokens: tokensFromJson(json),
  };
}

/** The inverse; `head_dim` is written always, `num_key_value_heads` too. */
export function sizesToJson(config: DecoderConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    intermediate_size: config.ffnDim,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    num_key_value_heads: config.numKvHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxSeqLen,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  };
}

/** Width of a head: the model's width over the heads. @throws HeddleError "config" naming both keys */
export function headDimOf(keys: Readonly<Record<string, number>>): number {
  const [[dimKey, dim], [headsKey, heads]] = Object.entries(keys) as [[string, number], [string, number]];
  if (dim % heads === 0) return dim / heads;
  const got = `${dimKey} ${dim}, ${headsKey} ${heads}`;
  const message = `parseConfig: ${dimKey} must be a multiple of ${headsKey}; got ${got}. Check the config.json, or set head_dim where the family has it.`;
  throw new HeddleError("config", message, { [dimKey]: dim, [headsKey]: heads });
}

function checkGroups(keys: {
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
}): void {
  if (keys.num_attention_heads % keys.num_key_value_heads === 0) return;
  const got = `num_attention_heads ${keys.num_attention_heads}, num_key_value_heads ${keys.num_key_value_heads}`;
  const message = `parseConfig: query heads must be a multiple of key heads; got ${got}. Check the config.json.`;
  throw new HeddleError("config", message, keys);
}
