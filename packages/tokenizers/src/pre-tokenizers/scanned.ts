import { type AlignedText, sliceAligned } from "../aligned-text.js";
import { createByteWords } from "../byte-words.js";
import { TextUnits } from "../text-units.js";
import type { CompiledPreTokenizer } from "./pre-tokenizer.js";
import type { Scanner } from "./scanners/scanner.js";

/**
 * A pre-tokenizer that is one scanner, whose words are then written in the byte alphabet.
 *
 * @param prepare  makes the text that the scanner reads; null: it reads the piece itself
 */
export function scannedBytes(
  scanner: Scanner,
  prepare: ((piece: AlignedText) => AlignedText) | null = null,
): CompiledPreTokenizer {
  const units = new TextUnits();
  return {
    split(piece, out) {
      const text = prepare?.(piece) ?? piece;
      units.load(text.text);
      scanner.start(text.text);
      for (let at = 0; at < text.text.length; ) {
        const end = scanner.next(units.units, at, text.text.length);
        out.push(sliceAligned(text, at, end));
        at = end;
      }
    },
    bytes: createByteWords(),
    scanner,
    prepare,
    isWhole: false,
    needsAlignment: false,
  };
}

/** Finds one word: the whole text. */
export const WHOLE_SCANNER: Scanner = { start() {}, next: (_units, _at, limit) => limit };

/** No pre-tokenizer: a text is one word. */
export const WHOLE_TEXT: CompiledPreTokenizer = {
  split: (piece, out) => out.push(piece),
  bytes: null,
  scanner: WHOLE_SCANNER,
  prepare: null,
  isWhole: true,
  needsAlignment: false,
};
