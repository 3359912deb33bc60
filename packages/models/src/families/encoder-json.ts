import { z } from "zod";
import type { Activation } from "../config.js";
import type { ClassPredictions, EncoderConfig, Predictions } from "../encoder/config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import { count, headDimOf, partCount, positive } from "./size-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

/** Keys from which follows what is predicted, and the special tokens. */
export const predictionKeys = {
  architectures: z.array(z.string()).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  num_labels: count.nullish(),
  problem_type: z.enum(["regression", "single_label_classification", "multi_label_classification"]).nullish(),
  initializer_range: positive.default(0.02),
  tie_word_embeddings: z.boolean().default(true),
  ...tokenKeys,
};

type PredictionJson = z.infer<z.ZodObject<typeof predictionKeys>>;

/** Keys of BERT and its descendants. */
export const bertKeys = {
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: partCount,
  num_attention_heads: partCount,
  max_position_embeddings: count,
  type_vocab_size: z.number().int().min(0).default(2),
  hidden_act: z.enum(activationNames).default("gelu"),
  layer_norm_eps: positive.default(1e-12),
  ...predictionKeys,
};

export type BertJson = z.infer<z.ZodObject<typeof bertKeys>>;

/** Keys without an effect at inference. */
export const inertBertKeys = [
  "add_cross_attention",
  "attention_probs_dropout_prob",
  "classifier_dropout",
  "classifier_dropout_prob",
  "gradient_checkpointing",
  "hidden_dropout_prob",
  "is_decoder",
  "model_max_length",
  "output_past",
  "pooler_fc_size",
  "pooler_num_attention_heads",
  "pooler_num_fc_layers",
  "pooler_size_per_head",
  "pooler_type",
  "position_embedding_type",
  "summary_activation",
  "summary_last_dropout",
  "summary_type",
  "summary_use_proj",
];

/** What BERT and its descendants have in common: norms on sums, plain feed-forward, biases, learned positions. */
export function bertConfig(family: string, json: BertJson): Omit<EncoderConfig, "predictions"> {
  const headDim = headDimOf({ hidden_size: json.hidden_size, num_attention_heads: json.num_attention_heads });
  return {
    family,
    vocabSize: json.vocab_size,
    modelDim: json.hidden_size,
    ffnDim: json.intermediate_size,
    numLayers: json.num_hidden_layers,
    numHeads: json.num_attention_heads,
    numKvHeads: json.num_attention_heads,
    headDim,
    maxSeqLen: json.max_position_embeddings,
    norm: { kind: "layer", eps: json.layer_norm_eps },
    positions: { kind: "none" },
    residual: { order: "sequential", norms: "sum" },
    mlp: { kind: "plain", activation: activationOf(json.hidden_act), hasBias: true },
    attention: { hasBias: true, scale: headDim ** -0.5 },
    inputs: { numTypes: json.type_vocab_size, positions: "places" },
    hasLastNorm: false,
    tieEmbeddings: json.tie_word_embeddings,
    initializerRange: json.initializer_range,
    tokens: tokensFromJson(json),
  };
}

/** The inverse, with the class that predicts what the configuration says; `prefix` is such as "Bert". */
export function bertToJson(config: EncoderConfig, prefix: string): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.modelDim,
    intermediate_size: config.ffnDim,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    max_position_embeddings: config.maxSeqLen,
    type_vocab_size: config.inputs.numTypes,
    hidden_act: nameOfActivation(config.mlp.activation),
    layer_norm_eps: config.norm.eps,
    ...predictionsToJson(config, prefix),
  };
}

/** Keys of `predictionKeys`. */
export function predictionsToJson(config: EncoderConfig, prefix: string): Record<string, unknown> {
  const { predictions } = config;
  return {
    architectures: [prefix + classSuffix(predictions)],
    ...(predictions.kind === "classes" ? classesToJson(predictions) : {}),
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieEmbeddings,
    ...tokensToJson(config.tokens),
  };
}

/** What becomes of logits, by the problem that a model was trained for. */
const scoresOfProblem = {
  regression: "none",
  single_label_classification: "softmax",
  multi_label_classification: "sigmoid",
} as const;

function classesToJson({ labels, numClasses, scores }: ClassPredictions): Record<string, unknown> {
  const names = Array.from({ length: numClasses }, (_, at) => labels?.[at] ?? `LABEL_${at}`);
  const problem = Object.entries(scoresOfProblem).find(([, own]) => own === scores)?.[0];
  return {
    id2label: Object.fromEntries(names.map((name, at) => [String(at), name])),
    label2id: Object.fromEntries(names.map((name, at) => [name, at])),
    ...(problem === undefined ? {} : { problem_type: problem }),
  };
}

/** Number and names of classes, and what becomes of their logits. */
function classesFromJson({
  num_labels,
  id2label,
  problem_type,
}: PredictionJson): Pick<ClassPredictions, "numClasses" | "labels" | "scores"> {
  const numClasses = num_labels ?? (id2label ? Object.keys(id2label).length : 2);
  const labels = Array.from({ length: numClasses }, (_, at) => id2label?.[at] ?? `LABEL_${at}`);
  return {
    numClasses,
    ...(labels.every((label, at) => label === `LABEL_${at}`) ? {} : { labels }),
    ...(problem_type ? { scores: scoresOfProblem[problem_type] } : {}),
  };
}

function classSuffix(predictions: Predictions): string {
  switch (predictions.kind) {
    case "none":
      return "Model";
    case "tokens":
      return "ForMaskedLM";
    case "classes":
      return predictions.of === "tokens" ? "ForTokenClassification" : "ForSequenceClassification";
    default:
      return predictions satisfies never;
  }
}

/**
 * What a checkpoint predicts, by the name of its class: masked tokens where it names none of the classifiers, hidden states only
 * where it is a bare model.
 *
 * @param options.tokens      transform before the tokens
 * @param options.transform   transform before the classes of texts
 * @param options.forTokens   transform before the classes of tokens. Default: none
 */
export function predictionsFromJson(
  json: PredictionJson,
  options: {
    readonly tokens: {
      readonly activation: Activation;
      readonly hasBias?: boolean;
      readonly hasTokenBias?: boolean;
    };
    readonly transform: NonNullable<ClassPredictions["transform"]>;
    readonly forTokens?: ClassPredictions["transform"];
    readonly of?: "first" | "mean";
  },
): Predictions {
  const name = json.architectures?.[0] ?? "ForMaskedLM";
  const classes = classesFromJson(json);
  const { tokens, transform, forTokens, of = "first" } = options;
  if (name.endsWith("ForSequenceClassification"))
    return { kind: "classes", ...classes, of, transform, hasBias: true };
  if (name.endsWith("ForTokenClassification")) {
    const own = forTokens === undefined ? {} : { transform: forTokens };
    return { kind: "classes", ...classes, of: "tokens", ...own, hasBias: true };
  }
  if (!/For(?:MaskedLM|PreTraining)$/.test(name)) return { kind: "none" };
  return { kind: "tokens", hasBias: true, hasTokenBias: true, ...tokens };
}
