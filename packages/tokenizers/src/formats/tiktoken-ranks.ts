import { ByteLevelDecoder, createByteLevelStage } from "../decoders/byte-level.js";
import { compileTiktoken, type TiktokenModel, tiktokenOfVocabulary } from "../models/tiktoken.js";
import { assembleTokenizer } from "../pipeline.js";
import { scannedBytes } from "../pre-tokenizers/scanned.js";
import type { Scanner } from "../pre-tokenizers/scanners/scanner.js";
import { plainSpecialToken } from "../special-token.js";
import type { TextPattern } from "../text-pattern.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { parseRanks, scanRanks } from "./rank-lines.js";

export interface TiktokenOptions {
  /** The pattern that cuts text into words; see TIKTOKEN_PATTERNS. */
  readonly pattern: string;
  /**
   * The notation of the pattern: that of Rust's fancy-regex ("rust", default), or Oniguruma's, which a tokenizer.json can
   * hold.
   */
  readonly dialect?: "rust" | "oniguruma";
  /** Special tokens and their ids. */
  readonly specialTokens?: Readonly<Record<string, number>>;
  readonly roles?: TokenRoles;
}

/** The patterns of OpenAI's published encodings. */
export const TIKTOKEN_PATTERNS = Object.freeze({
  gpt2: "'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s",
  cl100k:
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
  o200k:
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
});

/**
 * Makes the tokenizer that a rank file and its pattern describe.
 *
 * @param scannerOf  finds the words of the pattern
 * @throws HeddleError "format" naming a malformed line or a byte without a rank
 */
export function tokenizerOfRanks(
  ranks: string,
  options: TiktokenOptions,
  scannerOf: (pattern: TextPattern) => Scanner,
): Tokenizer {
  const addedTokens = Object.entries(options.specialTokens ?? {}).map(([content, id]) =>
    plainSpecialToken(content, id),
  );
  const bytes = { addPrefixSpace: false, trimOffsets: false, useRegex: false };
  const pattern = { type: "Regex", source: options.pattern, dialect: options.dialect ?? "rust" } as const;
  const scanner = scannerOf(pattern);
  const vocabulary = scanRanks(ranks);
  const model: TiktokenModel =
    vocabulary === null ? { type: "Tiktoken", vocab: parseRanks(ranks) } : tiktokenOfVocabulary(vocabulary);
  const config = {
    normalizer: null,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern, behavior: "Isolated", invert: false },
        { type: "ByteLevel", ...bytes },
      ],
    },
    model,
    postProcessor: null,
    decoder: { type: "ByteLevel", ...bytes },
    addedTokens,
    ...(options.roles === undefined ? {} : { roles: options.roles }),
  } as const;
  return assembleTokenizer(config, {
    normalizer: null,
    preTokenizer: scannedBytes(scanner),
    model: compileTiktoken(model),
    createDecodeStages: () => [createByteLevelStage()],
    quickDecoder: new ByteLevelDecoder(),
  });
}
