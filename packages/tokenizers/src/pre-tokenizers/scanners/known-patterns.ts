import type { TextPattern } from "../../text-pattern.js";
import { createCl100kScanner } from "./cl100k.js";
import { createDeepSeekScanner, createKanaScanner } from "./deepseek.js";
import { createGpt2Scanner } from "./gpt2.js";
import { createNumberScanner } from "./numbers.js";
import { createO200kScanner } from "./o200k.js";
import type { Scanner } from "./scanner.js";

/** GPT-2's pattern as Hugging Face writes it. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const O200K_TAIL = `${CONTRACTIONS}?`;
const CL100K_TAIL = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const LEAD = "[^\\r\\n\\p{L}\\p{N}]?";

/**
 * Patterns, word for word, that have a scanner; `coversAll`: every character of a text is in some match, so that it
 * makes no difference what becomes of the stretches between.
 */
const KNOWN: readonly {
  readonly sources: readonly string[];
  readonly coversAll: boolean;
  readonly create: () => Scanner;
}[] = [
  {
    sources: [
      GPT2_PATTERN,
      "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      "'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s",
    ],
    coversAll: true,
    create: createGpt2Scanner,
  },
  {
    sources: [
      `${CONTRACTIONS}|${LEAD}\\p{L}+|\\p{N}{1,3}${CL100K_TAIL}`,
      `'(?i:[sdmt]|ll|ve|re)|${LEAD}+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
    ],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 3, joinsLastSpaces: false }),
  },
  {
    sources: [
      `'(?i:[sdmt]|ll|ve|re)|${LEAD}+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s`,
    ],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 3, joinsLastSpaces: true }),
  },
  {
    sources: [`${CONTRACTIONS}|${LEAD}\\p{L}+|\\p{N}${CL100K_TAIL}`],
    coversAll: true,
    create: () => createCl100kScanner({ maxDigits: 1, joinsLastSpaces: false }),
  },
  {
    sources: [
      [
        `${LEAD}${UPPER}*${LOWER}+${O200K_TAIL}`,
        `${LEAD}${UPPER}+${LOWER}*${O200K_TAIL}`,
        "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      ].join("|"),
    ],
    coversAll: true,
    create: createO200kScanner,
  },
  { sources: ["\\p{N}{1,3}"], coversAll: false, create: () => createNumberScanner(3) },
  { sources: ["[一-龥぀-ゟ゠-ヿ]+"], coversAll: false, create: createKanaScanner },
  {
    sources: [
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    ],
    coversAll: false,
    create: createDeepSeekScanner,
  },
];

/** All patterns that have a scanner, for tests. */
export const KNOWN_SOURCES: readonly string[] = KNOWN.flatMap(({ sources }) => sources);

/** Returns the scanner of a pattern that cuts as "Isolated" does, or null if none is known. */
export function knownScanner(pattern: TextPattern): { scanner: Scanner; coversAll: boolean } | null {
  if (pattern.type !== "Regex") return null;
  const known = KNOWN.find(({ sources }) => sources.includes(pattern.source));
  return known === undefined ? null : { scanner: known.create(), coversAll: known.coversAll };
}
