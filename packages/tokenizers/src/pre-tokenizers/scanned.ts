import type { AlignedText } from "../aligned-text.js";
import { createByteWords } from "../byte-words.js";
import type { Scanner } from "./scanners/scanner.js";
import type { WordFinder } from "./word-finder.js";

/**
 * Finds words by one scanner, which are then written in the byte alphabet.
 *
 * @param prepare  makes the text that the scanner reads; null: it reads the piece itself
 */
export function scannedBytes(
  scanner: Scanner,
  prepare: ((piece: AlignedText) => AlignedText) | null = null,
): WordFinder {
  return { split: null, bytes: createByteWords(), scanner, prepare, isWhole: false, needsAlignment: false };
}

/** Finds one word: the whole text. */
export const WHOLE_SCANNER: Scanner = { isLocal: true, start() {}, next: (_units, _at, limit) => limit };

/** No pre-tokenizer: a text is one word. */
export const WHOLE_TEXT: WordFinder = {
  split: null,
  bytes: null,
  scanner: WHOLE_SCANNER,
  prepare: null,
  isWhole: true,
  needsAlignment: false,
};
