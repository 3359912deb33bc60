import type { AddedToken } from "../added-tokens.js";
import { createTokenizer } from "../create-tokenizer.js";
import { HeddleError } from "../error.js";
import { SPACE_SYMBOL } from "../normalizers/sentencepiece.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { readAddedToken } from "./added-token-json.js";
import { createFieldChecks, type FieldChecks } from "./field-checks.js";
import { parseJson } from "./parse-json.js";
import { tokenizerOfFile } from "./sentencepiece.js";
import { parseSentencePieceModel } from "./sentencepiece-model.js";
import { fromTekken } from "./tekken.js";
import { fromTokenizerJson } from "./tokenizer-json.js";
import { fromVocabJson } from "./vocab-json.js";
import { fromVocabTxt } from "./vocab-txt.js";

const { badField, requireObject }: FieldChecks = createFieldChecks("loadTokenizer");

/** The files of a tokenizer by their names; the caller reads them. */
export interface TokenizerFiles {
  readonly "tokenizer.json"?: string | undefined;
  readonly "tokenizer.model"?: Uint8Array | undefined;
  /** Mistral's */
  readonly "tekken.json"?: string | undefined;
  /** BERT's */
  readonly "vocab.txt"?: string | undefined;
  /** GPT-2's, with merges.txt */
  readonly "vocab.json"?: string | undefined;
  readonly "merges.txt"?: string | undefined;
  readonly "tokenizer_config.json"?: string | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Loads the tokenizer of a Hugging Face model directory from what is there: tokenizer.json, else tokenizer.model, else
 * vocab.json with merges.txt (GPT-2's kind), else vocab.txt (BERT's kind), else tekken.json (Mistral's).
 *
 * tokenizer_config.json names the tokens with a role (bos_token ...) and, for tokenizer.model, further tokens and
 * whether BOS and EOS are added. Where it says nothing, BOS is added and EOS is not, as for Llama.
 *
 * With tokenizer.model the names of control pieces inside a text become these pieces (`fromSentencePiece` alone leaves
 * them text unless asked), and each stretch between special tokens is encoded by itself, dummy prefix included: the
 * "legacy" way of Hugging Face's Llama tokenizer. With `"legacy": false` the prefix stands at the start of the whole
 * text only, and not before a space, as in the tokenizer.json that Hugging Face makes of such files.
 *
 * @throws HeddleError "config" if no such file is given; "format" and "unsupported" as the loaders of the files;
 *   "unsupported" for `"legacy": false` beside a model that squeezes white space or marks the ends of words
 */
export function loadTokenizer(files: TokenizerFiles): Tokenizer {
  const settings = readSettings(files["tokenizer_config.json"]);
  const roles = readRoles(settings);
  const json = files["tokenizer.json"];
  if (json !== undefined) return fromTokenizerJson(json, { roles });
  const model = files["tokenizer.model"];
  if (model === undefined) {
    const plain = fromPlainFiles(files, settings, withoutUndefined(roles));
    if (plain !== null) return plain;
    const names = listNames(files);
    throw new HeddleError(
      "config",
      `loadTokenizer: tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt or tekken.json must be given; got ${names.join(", ") || "no files"}. Read one of them from the model's directory and give it by its name.`,
      { files: names },
    );
  }
  const file = parseSentencePieceModel(model);
  const bos = roles.bos ?? file.bosPiece;
  const addedTokens = readAddedTokens(settings.added_tokens_decoder);
  const tokenizer = tokenizerOfFile(file, {
    addBosToken: settings.add_bos_token !== false && file.pieces.some(({ piece }) => piece === bos),
    addEosToken: settings.add_eos_token === true,
    parseControlPieces: true,
    roles: withoutUndefined(roles),
    addedTokens,
  });
  return settings.legacy === false ? prefixedOnce(tokenizer) : tokenizer;
}

/** Puts the dummy prefix at the start of the whole text only. */
function prefixedOnce(tokenizer: Tokenizer): Tokenizer {
  const { config } = tokenizer;
  const { normalizer } = config;
  if (normalizer?.type !== "SentencePiece" || !normalizer.addDummyPrefix) return tokenizer;
  const { removeExtraWhitespaces, treatWhitespaceAsSuffix, escapeWhitespaces } = normalizer;
  if (removeExtraWhitespaces || treatWhitespaceAsSuffix || !escapeWhitespaces) {
    throw new HeddleError(
      "unsupported",
      `loadTokenizer: legacy: false in tokenizer_config.json needs a tokenizer.model that keeps all white space and marks it before words; got remove_extra_whitespaces ${removeExtraWhitespaces}, treat_whitespace_as_suffix ${treatWhitespaceAsSuffix}, escape_whitespaces ${escapeWhitespaces}. Load the model's tokenizer.json.`,
      { removeExtraWhitespaces, treatWhitespaceAsSuffix, escapeWhitespaces },
    );
  }
  return createTokenizer({
    ...config,
    normalizer: { ...normalizer, addDummyPrefix: false },
    preTokenizer: { type: "Metaspace", replacement: SPACE_SYMBOL, prependScheme: "first", split: false },
  });
}

/** The files from before tokenizer.json; null if they are not there. */
function fromPlainFiles(files: TokenizerFiles, settings: Json, roles: TokenRoles): Tokenizer | null {
  const { "vocab.txt": lines, "vocab.json": vocab, "merges.txt": merges, "tekken.json": tekken } = files;
  if (vocab !== undefined && merges !== undefined) {
    return fromVocabJson(vocab, merges, { addPrefixSpace: settings.add_prefix_space === true, roles });
  }
  if (lines === undefined) {
    return tekken === undefined
      ? null
      : fromTekken(tekken, { addBosToken: settings.add_bos_token !== false, roles });
  }
  const lowercase = settings.do_lower_case !== false;
  const accents = settings.strip_accents;
  return fromVocabTxt(lines, {
    lowercase,
    stripAccents: typeof accents === "boolean" ? accents : null,
    roles: { ...roles, ...bertFrame(settings) },
  });
}

/** BERT names its frame cls_token and sep_token. */
function bertFrame(settings: Json): TokenRoles {
  const { cls_token: bos, sep_token: eos } = settings;
  return { ...(typeof bos === "string" ? { bos } : {}), ...(typeof eos === "string" ? { eos } : {}) };
}

function listNames(files: TokenizerFiles): string[] {
  return typeof files === "string" || ArrayBuffer.isView(files) ? ["one without name"] : Object.keys(files);
}

function readSettings(text: string | undefined): Json {
  if (text === undefined) return {};
  return requireObject(parseJson("loadTokenizer", "tokenizer_config.json", text), "tokenizer_config.json");
}

function readRoles(settings: Json): TokenRoles {
  const token = (key: string): string | undefined => {
    const value = settings[key];
    if (value === undefined || value === null) return undefined;
    const content = typeof value === "string" ? value : requireObject(value, key).content;
    if (typeof content !== "string") throw badField(`tokenizer_config.json ${key}`, "a token", value);
    return content;
  };
  return {
    bos: token("bos_token"),
    eos: token("eos_token"),
    pad: token("pad_token"),
    unk: token("unk_token"),
  };
}

/** Leaves out roles that are not named, so that they do not hide those of the model file. */
function withoutUndefined(roles: TokenRoles): TokenRoles {
  return Object.fromEntries(Object.entries(roles).filter(([, token]) => token !== undefined));
}

function readAddedTokens(json: unknown): AddedToken[] {
  if (json === undefined || json === null) return [];
  return Object.entries(requireObject(json, "added_tokens_decoder")).map(([id, token]) =>
    readAddedToken(token, `added_tokens_decoder.${id}`, Number(id)),
  );
}
