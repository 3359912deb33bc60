import type { EncoderConfig } from "../encoder/config.js";
import type { WeightRule } from "./family.js";
import { linears, norms, one } from "./names.js";

/** Where a family keeps the weights of its predictions. */
export interface PredictionNames {
  /** Of masked tokens: the transform, its norm, the bias of the vocabulary, the table where it is not tied. */
  readonly tokens: {
    readonly transform: string;
    readonly norm: string;
    readonly bias: string;
    readonly table: string;
  };
  /** Of texts: transform and classes. */
  readonly texts: { readonly transform: string; readonly classes: string; readonly norm?: string };
  /** Classes of tokens. */
  readonly classes: string;
}

/** Rules for what the configuration predicts. */
export function predictionRules({ predictions }: EncoderConfig, names: PredictionNames): WeightRule[] {
  const named = (rules: Readonly<Record<string, string>>) =>
    Object.entries(rules).flatMap(([ours, theirs]) =>
      ["weight", "bias"].map((part) => one(`predictions.${ours}.${part}`, `${theirs}.${part}`)),
    );
  switch (predictions.kind) {
    case "none":
      return [];
    case "tokens": {
      const { transform, norm, bias, table } = names.tokens;
      return [
        ...named({ transform, transformNorm: norm }),
        one("predictions.unembedding", table),
        one("predictions.bias", bias),
      ];
    }
    case "classes": {
      const { transform, norm, classes } = names.texts;
      return predictions.of === "tokens"
        ? named({ transform, ...(norm === undefined ? {} : { transformNorm: norm }), classes: names.classes })
        : named({ transform, ...(norm === undefined ? {} : { transformNorm: norm }), classes });
    }
    default:
      return predictions satisfies never;
  }
}

/** Rules for the tables of inputs, under `<prefix>.embeddings`. */
export function inputRules(prefix: string): WeightRule[] {
  const at = `${prefix}.embeddings`;
  return [
    one("embedding", `${at}.word_embeddings.weight`),
    one("positionEmbedding", `${at}.position_embeddings.weight`),
    one("typeEmbedding", `${at}.token_type_embeddings.weight`),
    one("embeddingNorm.weight", `${at}.LayerNorm.weight`),
    one("embeddingNorm.bias", `${at}.LayerNorm.bias`),
  ];
}

/** Rules for layers with BERT's names, under `<prefix>.encoder.layer.*`. */
export function bertLayerRules(prefix: string): WeightRule[] {
  const at = `${prefix}.encoder.layer.*`;
  return [
    ...linears("layers.*.attention", `${at}.attention`, {
      query: "self.query",
      key: "self.key",
      value: "self.value",
      output: "output.dense",
    }),
    ...bertBlockRules(at),
  ];
}

/** Rules for the norms and the feed-forward block of such a layer. */
export function bertBlockRules(at: string): WeightRule[] {
  return [
    ...norms("layers.*", at, { attentionNorm: "attention.output.LayerNorm", mlpNorm: "output.LayerNorm" }),
    ...linears("layers.*.mlp", at, { up: "intermediate.dense", down: "output.dense" }),
  ];
}

/** Stored by transformers beside the weights: numbers of positions, and tied copies of table and bias. */
export const ignoredByEncoders = [/(?:^|\.)position_ids$/, /(?:^|\.)token_type_ids$/];
