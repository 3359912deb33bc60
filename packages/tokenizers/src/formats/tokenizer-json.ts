import { createTokenizer } from "../create-tokenizer.js";
import type { PackedBpe } from "../models/packed-bpe.js";
import { decoder, encoder } from "../text-coders.js";
import type { Tokenizer, TokenizerConfig, TokenRoles } from "../tokenizer.js";
import { readAddedToken } from "./added-token-json.js";
import { readPadding, readTruncation, writePadding, writeTruncation } from "./batch-settings.js";
import { scanBpe } from "./bpe-scan.js";
import { refuseUnknownFields, requireArray, requireObject } from "./component-fields.js";
import {
  readDecoder,
  readNormalizer,
  readPostProcessor,
  readPreTokenizer,
  writeDecoder,
  writeNormalizer,
  writePostProcessor,
  writePreTokenizer,
} from "./components.js";
import { isPlainBpe, readModel, writeModel } from "./model-json.js";
import { parseJson } from "./parse-json.js";

/**
 * Loads a Hugging Face tokenizer.json.
 *
 * The file's truncation and padding are kept in `config` and written again; `encode` and `encodeBatch` do them when
 * they are passed as options.
 *
 * @param json  the file's bytes (which load fastest), its text, or the object parsed from it
 * @param options.roles  which tokens are BOS, EOS, padding and unknown (the file does not say)
 * @throws HeddleError "unsupported" naming a component, field or model that Heddle does not know; "format" naming a
 *   field of the wrong form
 */
export function fromTokenizerJson(json: unknown, options: { readonly roles?: TokenRoles } = {}): Tokenizer {
  const isText = typeof json === "string" || json instanceof Uint8Array;
  const scanned = isText ? readScanned(json) : null;
  const file = scanned?.file ?? requireObject(isText ? parse(json) : json, "the file");
  return createTokenizer(readTokenizerFile(file, scanned?.packed ?? null, options.roles));
}

/** Reads the parts of a tokenizer.json; `packed`: vocabulary and merges that were taken out of it before. */
export function readTokenizerFile(
  file: Readonly<Record<string, unknown>>,
  packed: PackedBpe | null,
  roles: TokenRoles | undefined,
): TokenizerConfig {
  refuseUnknownFields(file, "the file", KNOWN_KEYS);
  const truncation = readTruncation(file.truncation);
  const padding = readPadding(file.padding);
  return {
    normalizer: readNormalizer(file.normalizer, "normalizer"),
    preTokenizer: readPreTokenizer(file.pre_tokenizer, "pre_tokenizer"),
    model: readModel(file.model, packed),
    postProcessor: readPostProcessor(file.post_processor, "post_processor"),
    decoder: readDecoder(file.decoder, "decoder"),
    addedTokens: requireArray(file.added_tokens ?? [], "added_tokens").map((token, i) =>
      readAddedToken(token, `added_tokens[${i}]`),
    ),
    ...(truncation === null ? {} : { truncation }),
    ...(padding === null ? {} : { padding }),
    ...(roles === undefined ? {} : { roles }),
  };
}

/**
 * Writes a tokenizer as the object of a Hugging Face tokenizer.json; `JSON.stringify` makes the file of it.
 *
 * @throws HeddleError "unsupported" for parts that the format cannot hold (SentencePiece and tiktoken models)
 */
export function toTokenizerJson(tokenizer: Tokenizer): Record<string, unknown> {
  const { config } = tokenizer;
  return {
    version: "1.0",
    truncation: writeTruncation(config.truncation),
    padding: writePadding(config.padding, (id) => tokenizer.idToToken(id) ?? ""),
    added_tokens: config.addedTokens.map((token) => ({
      id: token.id,
      content: token.content,
      single_word: token.singleWord,
      lstrip: token.lstrip,
      rstrip: token.rstrip,
      normalized: token.normalized,
      special: token.special,
    })),
    normalizer: writeNormalizer(config.normalizer),
    pre_tokenizer: writePreTokenizer(config.preTokenizer),
    post_processor: writePostProcessor(config.postProcessor),
    decoder: writeDecoder(config.decoder),
    model: writeModel(config.model),
  };
}

const KNOWN_KEYS = [
  "version",
  "truncation",
  "padding",
  "added_tokens",
  "normalizer",
  "pre_tokenizer",
  "post_processor",
  "decoder",
  "model",
];

/** False if the text holds a lone surrogate, which would not survive as UTF-8 (or if this platform cannot tell). */
function isWellFormed(text: string & { isWellFormed?(): boolean }): boolean {
  return text.isWellFormed?.() === true;
}

/** The quick way for byte-pair models, which have the large files; null: take the usual way, which also finds errors. */
function readScanned(
  json: string | Uint8Array,
): { file: Readonly<Record<string, unknown>>; packed: PackedBpe } | null {
  if (typeof json === "string" && !isWellFormed(json)) return null;
  const scanned = scanBpe(typeof json === "string" ? encoder.encode(json) : json);
  if (scanned === null) return null;
  try {
    const file = requireObject(JSON.parse(scanned.rest), "the file");
    return isPlainBpe(file.model) ? { file, packed: scanned.packed } : null;
  } catch {
    return null;
  }
}

function parse(json: string | Uint8Array): unknown {
  const text = typeof json === "string" ? json : decoder.decode(json);
  return parseJson("fromTokenizerJson", "the text", text);
}
