import { concat, gelu, HeddleError, linear, relu, scope, type Tensor, tanh } from "@heddle/tensor";
import { findFamily } from "../families/registry.js";
import type { AnyModel } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import { type Pooling, pool, unitLength } from "./pooling.js";
import type { DenseModule, SentenceModules } from "./sentence-modules.js";

export interface EmbedTextsOptions {
  /**
   * How one vector is made of a text's tokens; it must be what the model was trained with. Vectors of several are joined. Default:
   * what modules.json says, or "mean".
   */
  readonly pooling?: Pooling | readonly Pooling[];
  /** Scale vectors to length 1, so that their product is the cosine of their angle. Default: as modules.json says, or true. */
  readonly isNormalized?: boolean;
  /** Longer texts are cut to so many tokens, their last token kept. Default: what the model was trained with. */
  readonly maxTokens?: number;
  /** What the texts are for, such as "query": the name of a prompt of the model, which is put before them. Default: the model's. */
  readonly prompt?: string;
  /** Texts that are computed together. Default 16. */
  readonly batchSize?: number;
}

/**
 * Makes a vector of each text: close in direction where texts mean the same, if the model was trained for that.
 *
 * A text is encoded with the tokenizer's special tokens, or given as ids, which no prompt goes before.
 * Works with encoders, with the encoder of an encoder-decoder, and with decoders (usually pooled by "last"). A text's vector does not
 * depend on the texts beside it. A directory of sentence-transformers (modules.json) says how its model was trained; options go before
 * what it says.
 * @returns one vector of the model's width a text and pooling, in order
 * @throws HeddleError "config" for a model without a tokenizer, a text without tokens or a prompt that the model does not have;
 *   "unsupported" for a model that gives no hidden states of text, or one whose modules.json asks for more than is understood
 * @see Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084
 */
export async function embedTexts(
  model: AnyModel,
  texts: readonly (string | ArrayLike<number>)[],
  options: EmbedTextsOptions = {},
): Promise<Float32Array[]> {
  const { batchSize = 16 } = options;
  const settings = settingsOf(model, options);
  const rows = texts.map((text) =>
    tokensOf(model, typeof text === "string" ? settings.prepare(text) : text, settings.maxTokens),
  );
  const vectors: Float32Array[] = [];
  for (let from = 0; from < rows.length; from += batchSize) {
    using pooled = embedRows(model, rows.slice(from, from + batchSize), settings);
    const values = Float32Array.from(await pooled.data());
    const width = pooled.shape[1] ?? 0;
    for (let at = 0; at < values.length; at += width) vectors.push(values.slice(at, at + width));
  }
  return vectors;
}

interface EmbedSettings {
  readonly poolings: readonly Pooling[];
  readonly isNormalized: boolean;
  /** Linear layers behind the poolings. */
  readonly dense: readonly DenseModule[];
  readonly maxTokens: number;
  /** What is encoded in the place of a text. */
  prepare(text: string): string;
}

/** Options, then what the model's files say, then what is usual. */
function settingsOf({ config, sentenceModules }: AnyModel, options: EmbedTextsOptions): EmbedSettings {
  const { pooling, isNormalized = sentenceModules?.isNormalized ?? true } = options;
  const unknown = sentenceModules?.unknownModules ?? [];
  if (pooling === undefined && unknown.length > 0) {
    const message = `embedTexts: modules.json must name Transformer, Pooling, Dense and Normalize only; got ${unknown.join(", ")}. Pass \`pooling\` for vectors without it.`;
    throw new HeddleError("unsupported", message, { unknown });
  }
  const maxTokens =
    options.maxTokens ?? Math.min(sentenceModules?.maxTokens ?? config.maxSeqLen, config.maxSeqLen);
  const prefix = prefixOf(sentenceModules, options.prompt);
  return {
    poolings: pooling === undefined ? (sentenceModules?.poolings ?? ["mean"]) : [pooling].flat(),
    isNormalized,
    // They belong to the model's own pooling.
    dense: pooling === undefined ? (sentenceModules?.dense ?? []) : [],
    maxTokens,
    prepare(text) {
      if (sentenceModules === undefined) return text;
      const whole = (prefix + text).trim();
      return sentenceModules.isLowercased ? whole.toLowerCase() : whole;
    },
  };
}

/** What is put before each text. */
function prefixOf(modules: SentenceModules | undefined, asked: string | undefined): string {
  const { prompts = {}, defaultPrompt } = modules ?? {};
  const name = asked ?? defaultPrompt;
  if (name === undefined) return "";
  const prompt = prompts[name];
  if (prompt !== undefined) return prompt;
  const names = Object.keys(prompts).join(", ") || "none";
  const message = `embedTexts: prompt must be one of the model's; got ${JSON.stringify(name)}, the model has ${names}. Write it into the texts.`;
  throw new HeddleError("config", message, { name, prompts: Object.keys(prompts) });
}

/** Vectors of token rows of any lengths, [B, E] for each pooling, joined. */
function embedRows(
  { family, config, weights, device }: AnyModel,
  rows: readonly Int32Array[],
  { poolings, isNormalized, dense }: EmbedSettings,
): Tensor {
  const { architecture } = findFamily(family);
  const { hidden } = architecture;
  if (hidden === undefined) {
    const message = `embedTexts: the model must give hidden states of text; got family "${family}" of architecture "${architecture.name}". Use an encoder.`;
    throw new HeddleError("unsupported", message, { family, architecture: architecture.name });
  }
  const longest = Math.max(...rows.map((row) => row.length));
  const padId = config.tokens.pad ?? 0;
  const ids = rows.map((row) => Array.from({ length: longest }, (_, at) => row[at] ?? padId));
  const attentionMask = rows.map((row) =>
    Array.from({ length: longest }, (_, at) => (at < row.length ? 1 : 0)),
  );
  return scope(device, () => {
    const states = hidden({ config, weights, device }, { ids, attentionMask });
    const mask = tokenGrid(device, attentionMask, { dtype: "bool" });
    const pooled = concat(
      poolings.map((pooling) => pool(states, pooling, mask)),
      { axis: 1 },
    );
    const vectors = dense.reduce(applyDense, pooled);
    return isNormalized ? unitLength(vectors) : vectors;
  });
}

function applyDense(x: Tensor, { weight, bias, activation }: DenseModule): Tensor {
  const y = linear(x, weight, bias);
  switch (activation) {
    case "identity":
      return y;
    case "tanh":
      return tanh(y);
    case "relu":
      return relu(y);
    case "gelu":
      return gelu(y);
    default:
      return activation satisfies never;
  }
}

function tokensOf(
  { tokenizer, family }: AnyModel,
  text: string | ArrayLike<number>,
  maxTokens: number,
): Int32Array {
  const ids = typeof text === "string" ? tokenizer?.encodeIds(text) : Int32Array.from(text);
  if (ids === undefined) {
    const message = `embedTexts: the model needs a tokenizer; got a ${family} model without one. Put tokenizer.json into its directory, or pass ids.`;
    throw new HeddleError("config", message, { family });
  }
  if (ids.length === 0) {
    const message = `embedTexts: a text must have at least one token; got ${JSON.stringify(text)}. Leave it out.`;
    throw new HeddleError("config", message, { text });
  }
  if (ids.length <= maxTokens) return ids;
  return Int32Array.of(...ids.subarray(0, maxTokens - 1), ids.at(-1) ?? 0);
}
