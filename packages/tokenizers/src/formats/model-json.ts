import { HeddleError } from "../error.js";
import type { BpeModel } from "../models/bpe.js";
import type { Model } from "../models/model.js";
import { badField, requireArray, requireObject } from "./component-fields.js";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the `model` of tokenizer.json.
 *
 * @throws HeddleError "unsupported" naming an unknown model or a dropout, "format" naming a malformed field
 */
export function readModel(json: unknown): Model {
  const object = requireObject(json, "model");
  switch (object.type ?? guessType(object)) {
    case "BPE":
      return readBpe(object);
    case "Unigram":
      return {
        type: "Unigram",
        vocab: readScores(object.vocab),
        unkId: typeof object.unk_id === "number" ? object.unk_id : null,
        byteFallback: object.byte_fallback === true,
      };
    case "WordPiece":
      return {
        type: "WordPiece",
        vocab: readVocab(object.vocab),
        unkToken: readText(object, "unk_token"),
        continuingSubwordPrefix: readText(object, "continuing_subword_prefix"),
        maxInputCharsPerWord: readCount(object, "max_input_chars_per_word"),
      };
    case "WordLevel":
      return { type: "WordLevel", vocab: readVocab(object.vocab), unkToken: readText(object, "unk_token") };
    default:
      throw new HeddleError(
        "unsupported",
        `fromTokenizerJson: model.type must be a model that Heddle knows; got ${JSON.stringify(object.type)}. Known: BPE, Unigram, WordPiece, WordLevel.`,
        { type: object.type },
      );
  }
}

/** Files written before models carried a type. */
function guessType(model: Json): string | undefined {
  if (model.merges !== undefined) return "BPE";
  if (Array.isArray(model.vocab)) return "Unigram";
  return model.max_input_chars_per_word !== undefined ? "WordPiece" : undefined;
}

function readBpe(model: Json): BpeModel {
  if (typeof model.dropout === "number" && model.dropout !== 0) {
    throw new HeddleError(
      "unsupported",
      `fromTokenizerJson: BPE dropout is not supported; got dropout ${model.dropout}. Set model.dropout to null.`,
      { dropout: model.dropout },
    );
  }
  return {
    type: "BPE",
    vocab: readVocab(model.vocab),
    merges: readMerges(model.merges),
    unkToken: readOptionalText(model, "unk_token"),
    continuingSubwordPrefix: readOptionalText(model, "continuing_subword_prefix"),
    endOfWordSuffix: readOptionalText(model, "end_of_word_suffix"),
    fuseUnk: model.fuse_unk === true,
    byteFallback: model.byte_fallback === true,
    ignoreMerges: model.ignore_merges === true,
  };
}

/** Reads a vocabulary: an object from token to id. */
export function readVocab(json: unknown): (readonly [string, number])[] {
  const entries = Object.entries(requireObject(json, "model.vocab"));
  for (const [token, id] of entries) {
    if (!Number.isInteger(id)) throw badField(`model.vocab[${JSON.stringify(token)}]`, "a whole number", id);
  }
  return (entries as [string, number][]).sort((a, b) => a[1] - b[1]);
}

function readScores(json: unknown): (readonly [string, number])[] {
  return requireArray(json, "model.vocab").map((entry, i) => {
    const [piece, score] = requireArray(entry, `model.vocab[${i}]`);
    if (typeof piece !== "string" || typeof score !== "number") {
      throw badField(`model.vocab[${i}]`, "[piece, score]", entry);
    }
    return [piece, score] as const;
  });
}

/** Merges are pairs, or in older files strings with one space. */
export function readMerges(json: unknown): (readonly [string, string])[] {
  return requireArray(json, "model.merges").map((merge, i) => {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      typeof pair[0] !== "string" ||
      typeof pair[1] !== "string"
    ) {
      throw badField(`model.merges[${i}]`, "a pair of tokens", merge);
    }
    return [pair[0], pair[1]] as const;
  });
}

function readText(model: Json, key: string): string {
  const value = model[key];
  if (typeof value !== "string") throw badField(`model.${key}`, "a string", value);
  return value;
}

function readOptionalText(model: Json, key: string): string | null {
  const value = model[key];
  return value === null || value === undefined || value === "" ? null : readText(model, key);
}

function readCount(model: Json, key: string): number {
  const value = model[key];
  if (typeof value !== "number" || !Number.isInteger(value))
    throw badField(`model.${key}`, "a whole number", value);
  return value;
}

/**
 * Writes a model for tokenizer.json.
 *
 * @throws HeddleError "unsupported" for models of other files (SentencePiece, tiktoken)
 */
export function writeModel(model: Model): Record<string, unknown> {
  switch (model.type) {
    case "BPE":
      return {
        type: "BPE",
        dropout: null,
        unk_token: model.unkToken,
        continuing_subword_prefix: model.continuingSubwordPrefix,
        end_of_word_suffix: model.endOfWordSuffix,
        fuse_unk: model.fuseUnk,
        byte_fallback: model.byteFallback,
        ignore_merges: model.ignoreMerges,
        vocab: Object.fromEntries(model.vocab),
        merges: model.merges,
      };
    case "Unigram":
      return { type: "Unigram", unk_id: model.unkId, vocab: model.vocab, byte_fallback: model.byteFallback };
    case "WordPiece":
      return {
        type: "WordPiece",
        unk_token: model.unkToken,
        continuing_subword_prefix: model.continuingSubwordPrefix,
        max_input_chars_per_word: model.maxInputCharsPerWord,
        vocab: Object.fromEntries(model.vocab),
      };
    case "WordLevel":
      return { type: "WordLevel", vocab: Object.fromEntries(model.vocab), unk_token: model.unkToken };
    case "SentencePiece":
    case "Tiktoken":
      throw new HeddleError(
        "unsupported",
        `toTokenizerJson: tokenizer.json has no such model; got type ${JSON.stringify(model.type)}. Keep the original model file.`,
        { type: model.type },
      );
    default:
      return model satisfies never;
  }
}
