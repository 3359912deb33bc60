import { HeddleError } from "../error.js";
import { TIKTOKEN_PATTERNS, type TiktokenOptions, tokenizerOfRanks } from "../formats/tiktoken-ranks.js";
import { knownScanner, OPENAI_PATTERNS } from "../pre-tokenizers/scanners/known-patterns.js";
import type { Tokenizer } from "../tokenizer.js";

export type { Encoding } from "../encoding.js";
export { HeddleError, type HeddleErrorCode } from "../error.js";
export type { Tokenizer } from "../tokenizer.js";
export { TIKTOKEN_PATTERNS, type TiktokenOptions };

/**
 * Loads a tiktoken rank file with one of OpenAI's patterns, without the code for any other.
 *
 * @throws HeddleError "unsupported" for another pattern, "format" naming a malformed line or a byte without a rank
 * @see tiktoken, `load_tiktoken_bpe`
 */
export function fromTiktoken(ranks: string, options: TiktokenOptions): Tokenizer {
  return tokenizerOfRanks(ranks, options, (pattern) => {
    const known = knownScanner(pattern, OPENAI_PATTERNS);
    if (known !== null) return known.scanner;
    throw new HeddleError(
      "unsupported",
      `fromTiktoken: @heddle/tokenizers/tiktoken knows the patterns gpt2, cl100k and o200k; got ${JSON.stringify(options.pattern)}. Import fromTiktoken from @heddle/tokenizers, which reads any pattern.`,
      { pattern: options.pattern },
    );
  });
}
