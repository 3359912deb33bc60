import { alignOriginal, originalStart } from "./aligned-text.js";
import { toByteLevel } from "./byte-level.js";
import { compileNormalizer, type Normalizer } from "./normalizers/normalizer.js";
import type { PreTokenizer } from "./pre-tokenizers/kinds.js";
import { compilePreTokenizer } from "./pre-tokenizers/pre-tokenizer.js";

/** A word that a pre-tokenizer cut out, and where it stood: [start, end) in UTF-16 units of the text. */
export interface Word {
  readonly text: string;
  readonly offsets: readonly [start: number, end: number];
}

/** Runs a normalizer alone. */
export function normalizeText(normalizer: Normalizer, text: string): string {
  return compileNormalizer(normalizer).apply(text);
}

/** Runs a pre-tokenizer alone. */
export function preTokenizeText(preTokenizer: PreTokenizer, text: string): Word[] {
  const compiled = compilePreTokenizer(preTokenizer);
  const words: ReturnType<typeof alignOriginal>[] = [];
  compiled.split(alignOriginal(text), words);
  return words
    .filter((word) => word.text !== "")
    .map((word) => ({
      text: compiled.bytes !== null ? toByteLevel(word.text) : word.text,
      offsets: [originalStart(word), word.ends?.at(-1) ?? word.base + word.text.length],
    }));
}
