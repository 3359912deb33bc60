import { decodeBase64 } from "../base64.js";
import { BYTE_CHARACTERS } from "../byte-level.js";
import { ByteLevelDecoder, createByteLevelStage } from "../decoders/byte-level.js";
import { HeddleError } from "../error.js";
import { compileTiktoken } from "../models/tiktoken.js";
import { assembleTokenizer } from "../pipeline.js";
import { scannedBytes } from "../pre-tokenizers/scanned.js";
import type { Scanner } from "../pre-tokenizers/scanners/scanner.js";
import { plainSpecialToken } from "../special-token.js";
import type { TextPattern } from "../text-pattern.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";

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
  const model = { type: "Tiktoken", vocab: parseRanks(ranks) } as const;
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
