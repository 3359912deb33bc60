import { HeddleError } from "@heddle/tensor";
import type { Encoding, Tokenizer } from "@heddle/tokenizers";
import type { ModelConfig } from "../config.js";
import { softmaxOf, topIds } from "../generation/sampling/scores.js";
import type { AnyModel } from "../loading/load-model.js";
import type { ClassPredictions, Predictions } from "./config.js";

/** A class and how sure the model is of it. */
export interface LabelScore {
  readonly label: string;
  /** Probability, 0..1; the number itself where a model was trained for regression. */
  readonly score: number;
}

/** A token of a text and its likeliest class. Offsets are [start, end) in UTF-16 units of the text. */
export interface LabelledToken extends LabelScore {
  readonly token: string;
  readonly start: number;
  readonly end: number;
}

/** What may stand in the place of a mask, likeliest first. */
export interface MaskFill {
  readonly start: number;
  readonly end: number;
  readonly candidates: readonly {
    readonly id: number;
    readonly text: string;
    readonly probability: number;
  }[];
}

export interface PredictTextsOptions {
  /** Texts that are computed together. Default 16. */
  readonly batchSize?: number;
}

/**
 * Classifies texts, or pairs of texts such as a premise and a hypothesis.
 *
 * Longer texts are cut to the model's longest sequence.
 * @returns for each text the scores of all classes, best first
 * @throws HeddleError "config" without a tokenizer, "unsupported" for a model that does not classify texts
 */
export async function classifyTexts(
  model: AnyModel,
  texts: readonly (string | readonly [string, string])[],
  { batchSize = 16 }: PredictTextsOptions = {},
): Promise<LabelScore[][]> {
  const { tokenizer, classes } = classifierOf("classifyTexts", model, { ofTokens: false });
  const found: LabelScore[][] = [];
  for (let from = 0; from < texts.length; from += batchSize) {
    const encodings = encode(model, tokenizer, texts.slice(from, from + batchSize));
    for (const logits of await rowsOfLogits(model, encodings, classes.numClasses)) {
      const scores = scoresOf(classes, logits);
      found.push(
        topIds(scores, scores.length).map((at) => ({ label: labelOf(classes, at), score: scores[at] ?? 0 })),
      );
    }
  }
  return found;
}

/**
 * Gives each token of a text its likeliest class, such as the kind of a name.
 *
 * @throws HeddleError "config" without a tokenizer, "unsupported" for a model that does not classify tokens
 */
export async function classifyTokens(model: AnyModel, text: string): Promise<LabelledToken[]> {
  const { tokenizer, classes } = classifierOf("classifyTokens", model, { ofTokens: true });
  const encodings = encode(model, tokenizer, [text]);
  const [encoding] = encodings;
  const rows = await rowsOfLogits(model, encodings, classes.numClasses);
  return rows.flatMap((logits, at) => {
    if (encoding === undefined || encoding.specialTokensMask[at] === 1) return [];
    const scores = scoresOf(classes, logits);
    const [best = 0] = topIds(scores, 1);
    const [start = 0, end = 0] = [encoding.starts[at], encoding.ends[at]];
    return {
      token: text.slice(start, end),
      start,
      end,
      label: labelOf(classes, best),
      score: scores[best] ?? 0,
    };
  });
}

/**
 * Says what may stand in the place of each mask token ("[MASK]" or "<mask>") of a text.
 *
 * @param options.top  candidates for each mask. Default 5
 * @throws HeddleError "config" without a tokenizer or a mask in the text, "unsupported" for a model that predicts no tokens
 */
export async function fillMask(
  model: AnyModel,
  text: string,
  { top = 5 }: { readonly top?: number } = {},
): Promise<MaskFill[]> {
  const tokenizer = tokenizerOf("fillMask", model);
  const predictions = predictionsOf(model.config);
  if (predictions?.kind !== "tokens") throw misfit("fillMask", model, "predict tokens");
  const mask = ["[MASK]", "<mask>"].find((name) => tokenizer.specialTokens.includes(name));
  const maskId = mask === undefined ? undefined : tokenizer.tokenToId(mask);
  const encodings = encode(model, tokenizer, [text]);
  const [encoding] = encodings;
  const places = [...(encoding?.ids.keys() ?? [])].filter((at) => encoding?.ids[at] === maskId);
  if (encoding === undefined || places.length === 0) {
    const message = `fillMask: the text must hold the model's mask token, ${mask ?? "which its tokenizer does not have"}; got ${JSON.stringify(text)}. Write it where a word is missing.`;
    throw new HeddleError("config", message, { text, mask });
  }
  const rows = await rowsOfLogits(model, encodings, model.config.vocabSize);
  return places.map((place) => {
    const probabilities = softmaxOf(rows[place] ?? new Float64Array(0));
    const ids = topIds(probabilities, Math.min(top, probabilities.length));
    return {
      start: encoding.starts[place] ?? 0,
      end: encoding.ends[place] ?? 0,
      candidates: ids.map((id) => ({
        id,
        text: textOf(tokenizer, id),
        probability: probabilities[id] ?? 0,
      })),
    };
  });
}

/** Nothing for rows of the vocabulary that stand for no token. */
function textOf(tokenizer: Tokenizer, id: number): string {
  return tokenizer.idToToken(id) === undefined ? "" : tokenizer.decode([id]);
}

function classifierOf(
  caller: string,
  model: AnyModel,
  { ofTokens }: { readonly ofTokens: boolean },
): { readonly tokenizer: Tokenizer; readonly classes: ClassPredictions } {
  const tokenizer = tokenizerOf(caller, model);
  const predictions = predictionsOf(model.config);
  if (predictions?.kind === "classes" && (predictions.of === "tokens") === ofTokens)
    return { tokenizer, classes: predictions };
  throw misfit(caller, model, ofTokens ? "classify tokens" : "classify texts");
}

function predictionsOf(config: ModelConfig): Predictions | undefined {
  return (config as { readonly predictions?: Predictions }).predictions;
}

function misfit(caller: string, { family, config }: AnyModel, wanted: string): HeddleError {
  const predictions = predictionsOf(config);
  const got =
    predictions?.kind === "classes"
      ? `classes of ${predictions.of}`
      : (predictions?.kind ?? "no predictions");
  const message = `${caller}: the model must ${wanted}; got a ${family} model of ${got}. Load a checkpoint with such a head.`;
  return new HeddleError("unsupported", message, { family, got });
}

function tokenizerOf(caller: string, { tokenizer, family }: AnyModel): Tokenizer {
  if (tokenizer !== undefined) return tokenizer;
  const message = `${caller}: the model needs a tokenizer; got a ${family} model without one. Put tokenizer.json into its directory.`;
  throw new HeddleError("config", message, { family });
}

function encode(
  { config }: AnyModel,
  tokenizer: Tokenizer,
  texts: readonly (string | readonly [string, string])[],
): Encoding[] {
  return tokenizer.encodeBatch(texts, { truncation: { maxLength: config.maxSeqLen } });
}

/** Logits of texts of any lengths, cut into rows: one a text, or, where the model predicts for tokens, one a token of the longest. */
async function rowsOfLogits(
  model: AnyModel,
  encodings: readonly Encoding[],
  width: number,
): Promise<Float64Array[]> {
  const longest = Math.max(...encodings.map(({ length }) => length));
  const padId = model.config.tokens.pad ?? 0;
  const grid = (filler: number, rowOf: (encoding: Encoding) => ArrayLike<number>) =>
    encodings.map((encoding) => {
      const row = rowOf(encoding);
      return Array.from({ length: longest }, (_, at) => row[at] ?? filler);
    });
  const { numTypes = 0 } = (model.config as { readonly inputs?: { readonly numTypes: number } }).inputs ?? {};
  using logits = model.logits({
    ids: grid(padId, ({ ids }) => ids),
    attentionMask: grid(0, ({ attentionMask }) => attentionMask),
    ...(numTypes > 1 ? { tokenTypeIds: grid(0, ({ typeIds }) => typeIds) } : {}),
  });
  const data = Float64Array.from(await logits.data());
  return Array.from({ length: data.length / width }, (_, row) =>
    data.subarray(row * width, (row + 1) * width),
  );
}

function scoresOf({ scores, numClasses }: ClassPredictions, logits: Float64Array): Float64Array {
  // A single class cannot be shared out: it is true or it is not.
  const kind = scores ?? (numClasses === 1 ? "sigmoid" : "softmax");
  switch (kind) {
    case "softmax":
      return softmaxOf(logits);
    case "sigmoid":
      return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
    case "none":
      return logits;
    default:
      return kind satisfies never;
  }
}

function labelOf({ labels }: ClassPredictions, at: number): string {
  return labels?.[at] ?? `LABEL_${at}`;
}
