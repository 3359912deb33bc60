import { ALL_PATTERNS } from "../pre-tokenizers/scanners/all-patterns.js";
import { knownScanner } from "../pre-tokenizers/scanners/known-patterns.js";
import { createRegexScanner } from "../pre-tokenizers/scanners/regex.js";
import type { Tokenizer } from "../tokenizer.js";
import { type TiktokenOptions, tokenizerOfRanks } from "./tiktoken-ranks.js";

/**
 * Loads a tiktoken rank file: one `base64 rank` a line, the rank being the id.
 *
 * @throws HeddleError "format" naming a malformed line or a byte without a rank
 * @see tiktoken, `load_tiktoken_bpe`
 */
export function fromTiktoken(ranks: string, options: TiktokenOptions): Tokenizer {
  return tokenizerOfRanks(
    ranks,
    options,
    (pattern) => knownScanner(pattern, ALL_PATTERNS)?.scanner ?? createRegexScanner(pattern),
  );
}
