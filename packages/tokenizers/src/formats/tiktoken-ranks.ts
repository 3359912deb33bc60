import { ByteLevelDecoder, createByteLevelStage } from "../decoders/byte-level.js";
import { compileRanks, tiktokenOfVocabulary } from "../models/tiktoken.js";
import { assembleTokenizer } from "../pipeline.js";
import { scannedBytes } from "../pre-tokenizers/scanned.js";
import { TIKTOKEN_CL100K, TIKTOKEN_GPT2, TIKTOKEN_O200K } from "../pre-tokenizers/scanners/known-patterns.js";
import type { Scanner } from "../pre-tokenizers/scanners/scanner.js";
import { plainSpecialToken } from "../special-token.js";
import type { TextPattern } from "../text-pattern.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { readRanks } from "./rank-lines.js";

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
export const TIKTOKEN_PATTERNS = /* @__PURE__ */ Object.freeze({
  gpt2: TIKTOKEN_GPT2,
  cl100k: TIKTOKEN_CL100K,
  o200k: TIKTOKEN_O200K,
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
  const vocabulary = readRanks(ranks);
  const config = {
    normalizer: null,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern, behavior: "Isolated", invert: false },
        { type: "ByteLevel", ...bytes },
      ],
    },
    model: tiktokenOfVocabulary(vocabulary),
    postProcessor: null,
    decoder: { type: "ByteLevel", ...bytes },
    addedTokens,
    ...(options.roles === undefined ? {} : { roles: options.roles }),
  } as const;
  return assembleTokenizer(config, {
    normalizer: null,
    preTokenizer: scannedBytes(scanner),
    model: compileRanks(vocabulary),
    createDecodeStages: () => [createByteLevelStage()],
    quickDecoder: new ByteLevelDecoder(),
  });
}
