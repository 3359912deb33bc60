import type { TextPattern } from "../../text-pattern.js";
import { createCl100kScanner } from "./cl100k.js";
import { createGpt2Scanner } from "./gpt2.js";
import { createO200kScanner } from "./o200k.js";
import type { Scanner } from "./scanner.js";

/** GPT-2's pattern as Hugging Face writes it. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const CL100K_TAIL = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const LEAD = "[^\\r\\n\\p{L}\\p{N}]?";

/** The patterns of OpenAI's published encodings as tiktoken writes them. */
export const TIKTOKEN_GPT2 =
  "'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s";
export const TIKTOKEN_CL100K = `'(?i:[sdmt]|ll|ve|re)|${LEAD}+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s`;
export const TIKTOKEN_O200K = `${LEAD}${UPPER}*${LOWER}+${CONTRACTIONS}?|${LEAD}${UPPER}+${LOWER}*${CONTRACTIONS}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** A pattern that has a scanner. */
export interface KnownPattern {
  /** The pattern, word for word, in all notations that are known. */
  readonly sources: readonly string[];
  /** Every character of a text is in some match: it makes no difference what becomes of the stretches between. */
  readonly coversAll: boolean;
  readonly create: () => Scanner;
}

const GPT2: KnownPattern = {
  sources: [
    GPT2_PATTERN,
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    TIKTOKEN_GPT2,
  ],
  coversAll: true,
  create: createGpt2Scanner,
};

/** Llama 3; cl100k as tiktoken writes it, with a last run of white space of its own; Qwen 2. */
const CL100K: readonly KnownPattern[] = [
  {
    sources: [
      `${CONTRACTIONS}|${LEAD}\\p{L}+|\\p{N}{1,3}${CL100K_TAIL}`,
      `'(?i:[sdmt]|ll|ve|re)|${LEAD}+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
    ],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 3, joinsLastSpaces: false }),
  },
  {
    sources: [TIKTOKEN_CL100K],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 3, joinsLastSpaces: true }),
  },
  {
    sources: [`${CONTRACTIONS}|${LEAD}\\p{L}+|\\p{N}${CL100K_TAIL}`],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 1, joinsLastSpaces: false }),
  },
];

const O200K: KnownPattern = {
  sources: [TIKTOKEN_O200K],
  coversAll: true,
  create: createO200kScanner,
};

/** The patterns of OpenAI's encodings. */
export const OPENAI_PATTERNS: readonly KnownPattern[] = [GPT2, ...CL100K, O200K];

/** Returns the scanner of a pattern that cuts as "Isolated" does, or null if none is known. */
export function knownScanner(
  pattern: TextPattern,
  patterns: readonly KnownPattern[],
): { scanner: Scanner; coversAll: boolean } | null {
  if (pattern.type !== "Regex") return null;
  const known = patterns.find(({ sources }) => sources.includes(pattern.source));
  return known === undefined ? null : { scanner: known.create(), coversAll: known.coversAll };
}
