import { HeddleError } from "../error.js";
import { PLAIN_BPE } from "../models/bpe.js";
import type { BpeModel } from "../models/bpe-model.js";
import type { Model } from "../models/model.js";
import { bpeOfPacked, type PackedBpe } from "../models/packed-bpe.js";
import type { TiktokenModel } from "../models/tiktoken.js";
import type { UnigramModel } from "../models/unigram.js";
import { readMerges, readVocab } from "./bpe-fields.js";
import {
  badField,
  jsonChecks,
  refuseUnknownFields,
  requireArray,
  requireObject,
} from "./component-fields.js";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the `model` of tokenizer.json.
 *
 * @param packed  the vocabulary and merges of a BPE model if they were read before
 * @throws HeddleError "unsupported" naming an unknown model or field, "format" naming a malformed field
 */
export function readModel(json: unknown, packed: PackedBpe | null = null): Model {
  const object = requireObject(json, "model");
  const type = object.type ?? guessType(object);
  const known = typeof type === "string" && Object.hasOwn(FIELDS, type) ? FIELDS[type] : undefined;
  if (known !== undefined) refuseUnknownFields(object, `model of type ${String(type)}`, ["type", ...known]);
  switch (type) {
    case "BPE":
      return packed === null
        ? {
            ...readBpe(object),
            vocab: readVocab(object.vocab, jsonChecks),
            merges: readMerges(object.merges, jsonChecks),
          }
        : bpeOfPacked(readBpe(object), packed);
    case "Unigram":
      return readUnigram(object);
    case "WordPiece":
      return {
        type: "WordPiece",
        vocab: readVocab(object.vocab, jsonChecks),
        unkToken: readText(object, "unk_token"),
        continuingSubwordPrefix: readText(object, "continuing_subword_prefix"),
        maxInputCharsPerWord: readCount(object, "max_input_chars_per_word"),
      };
    case "WordLevel":
      return {
        type: "WordLevel",
        vocab: readVocab(object.vocab, jsonChecks),
        unkToken: readText(object, "unk_token"),
      };
    default:
      throw new HeddleError(
        "unsupported",
        `fromTokenizerJson: model.type must be a model that Heddle knows; got ${JSON.stringify(object.type)}. Known: BPE, Unigram, WordPiece, WordLevel.`,
        { type: object.type },
      );
  }
}

/** The fields of each model. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  BPE: [
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
    "vocab",
    "merges",
  ],
  Unigram: ["unk_id", "vocab", "byte_fallback"],
  WordPiece: ["unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"],
  WordLevel: ["unk_token", "vocab"],
};

/** Files written before models carried a type. */
function guessType(model: Json): string | undefined {
  if (model.merges !== undefined) return "BPE";
  if (Array.isArray(model.vocab)) return "Unigram";
  return model.max_input_chars_per_word !== undefined ? "WordPiece" : undefined;
}

function readUnigram(model: Json): UnigramModel {
  const vocab = readScores(model.vocab);
  const { unk_id: unkId = null } = model;
  if (unkId !== null && !(isCount(unkId) && unkId < vocab.length)) {
    throw badField("model.unk_id", `null or an id below ${vocab.length}`, unkId);
  }
  return { type: "Unigram", vocab, unkId, byteFallback: readFlag(model, "byte_fallback") };
}

/** True if the vocabulary and merges of this model may be read from the bytes of the file by themselves. */
export function isPlainBpe(json: unknown): boolean {
  const object = requireObject(json, "model");
  return (object.type ?? "BPE") === "BPE" && !object.continuing_subword_prefix;
}

function readBpe(model: Json): Omit<BpeModel, "vocab" | "merges"> {
  const { dropout = null } = model;
  if (dropout !== null && !(typeof dropout === "number" && dropout >= 0 && dropout <= 1)) {
    throw badField("model.dropout", "null or from 0 to 1", dropout);
  }
  return {
    type: "BPE",
    unkToken: readOptionalText(model, "unk_token"),
    continuingSubwordPrefix: readOptionalText(model, "continuing_subword_prefix"),
    endOfWordSuffix: readOptionalText(model, "end_of_word_suffix"),
    fuseUnk: readFlag(model, "fuse_unk"),
    byteFallback: readFlag(model, "byte_fallback"),
    ignoreMerges: readFlag(model, "ignore_merges"),
    ...(dropout === null ? {} : { dropout }),
  };
}

function readScores(json: unknown): (readonly [string, number])[] {
  return requireArray(json, "model.vocab").map((entry, i) => {
    const [piece, score] = requireArray(entry, `model.vocab[${i}]`);
    if (typeof piece !== "string" || typeof score !== "number" || !Number.isFinite(score)) {
      throw badField(`model.vocab[${i}]`, "[piece, score]", entry);
    }
    return [piece, score] as const;
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
  if (!isCount(value)) throw badField(`model.${key}`, "a whole number of at least 0", value);
  return value;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** A switch that older files leave out. */
function readFlag(model: Json, key: string): boolean {
  const value = model[key] ?? false;
  if (typeof value !== "boolean") throw badField(`model.${key}`, "true or false", value);
  return value;
}

/**
 * Writes a model for tokenizer.json.
 *
 * @throws HeddleError "unsupported" for SentencePiece models
 */
export function writeModel(model: Model): Record<string, unknown> {
  switch (model.type) {
    case "BPE":
      return {
        type: "BPE",
        dropout: model.dropout ?? null,
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
    case "Tiktoken":
      return writeModel(bpeOfRanks(model));
    case "SentencePiece":
      throw new HeddleError(
        "unsupported",
        `toTokenizerJson: tokenizer.json has no such model; got type ${JSON.stringify(model.type)}. Keep the original model file.`,
        { type: model.type },
      );
    default:
      return model satisfies never;
  }
}

/** A tiktoken model as byte-pair merges: every way to cut a token into two tokens, in order of the token's rank. */
function bpeOfRanks({ vocab }: TiktokenModel): BpeModel {
  const ranks = new Map(vocab);
  const merges: (readonly [string, string])[] = [];
  for (const [token] of vocab) {
    const cuts: (readonly [string, string])[] = [];
    for (let at = 1; at < token.length; at++) {
      const [left, right] = [token.slice(0, at), token.slice(at)];
      if (ranks.has(left) && ranks.has(right)) cuts.push([left, right]);
    }
    const rankOf = (part: string) => ranks.get(part) as number;
    merges.push(...cuts.sort(([a, b], [c, d]) => rankOf(a) - rankOf(c) || rankOf(b) - rankOf(d)));
  }
  return {
    ...PLAIN_BPE,
    vocab,
    merges,
    ignoreMerges: true,
  };
}
