import type { AddedToken } from "../added-tokens.js";
import { decodeBase64 } from "../base64.js";
import { BYTE_CHARACTERS } from "../byte-level.js";
import { HeddleError } from "../error.js";
import { createTokenizer, type Tokenizer, type TokenRoles } from "../tokenizer.js";

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
 * Loads a tiktoken rank file: one `base64 rank` a line, the rank being the id.
 *
 * @throws HeddleError "format" naming a malformed line or a byte without a rank
 * @see tiktoken, `load_tiktoken_bpe`
 */
export function fromTiktoken(ranks: string, options: TiktokenOptions): Tokenizer {
  const vocab = parseRanks(ranks);
  const addedTokens: AddedToken[] = Object.entries(options.specialTokens ?? {}).map(([content, id]) => ({
    id,
    content,
    singleWord: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const bytes = { addPrefixSpace: false, trimOffsets: false, useRegex: false };
  return createTokenizer({
    normalizer: null,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { type: "Regex", source: options.pattern, dialect: options.dialect ?? "rust" },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", ...bytes },
      ],
    },
    model: { type: "Tiktoken", vocab },
    postProcessor: null,
    decoder: { type: "ByteLevel", ...bytes },
    addedTokens,
    ...(options.roles === undefined ? {} : { roles: options.roles }),
  });
}

function parseRanks(text: string): (readonly [string, number])[] {
  const vocab: (readonly [string, number])[] = [];
  const seen = new Set<string>();
  const tokenOf = new Map<number, string>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const [encoded = "", rank = ""] = line.trim().split(" ");
    if (!/^\d+$/.test(rank)) {
      throw new HeddleError(
        "format",
        `fromTiktoken: a line must be "base64 rank"; got line ${i + 1} ${JSON.stringify(line.slice(0, 60))}. Check the rank file.`,
        { line: i + 1 },
      );
    }
    let token = "";
    for (const byte of decodeBase64(encoded)) token += BYTE_CHARACTERS[byte];
    if (seen.has(token) || tokenOf.has(Number(rank))) {
      throw new HeddleError(
        "format",
        `fromTiktoken: a token and a rank must stand in one line only; got line ${i + 1} ${JSON.stringify(line.slice(0, 60))}, which says one of them again. Check the rank file.`,
        { line: i + 1 },
      );
    }
    vocab.push([token, Number(rank)]);
    seen.add(token);
    tokenOf.set(Number(rank), token);
  }
  const missing = BYTE_CHARACTERS.findIndex((char) => !seen.has(char));
  if (missing >= 0) {
    throw new HeddleError(
      "format",
      `fromTiktoken: each of the 256 bytes must have a rank; got none for byte ${missing}. Check the rank file for truncation.`,
      { byte: missing },
    );
  }
  return vocab.sort((a, b) => a[1] - b[1]);
}
