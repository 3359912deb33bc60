import { createDeepSeekScanner, createKanaScanner } from "./deepseek.js";
import { type KnownPattern, OPENAI_PATTERNS } from "./known-patterns.js";
import { createNumberScanner } from "./numbers.js";

/** The three patterns of DeepSeek V3, which cut one after the other. */
const DEEPSEEK: readonly KnownPattern[] = [
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

/** All patterns that have a scanner. */
export const ALL_PATTERNS: readonly KnownPattern[] = [...OPENAI_PATTERNS, ...DEEPSEEK];
