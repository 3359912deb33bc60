import type { AlignedText } from "../aligned-text.js";
import type { ByteWords } from "../byte-words.js";
import type { Scanner } from "./scanners/scanner.js";

/** Finds the words of texts. */
export interface WordFinder {
  /** Appends the words of one piece of text; null: the scanner finds them all. */
  readonly split: ((piece: AlignedText, out: AlignedText[]) => void) | null;
  /** Writes the words in the byte alphabet (word by word, behind the cache); null: they stay as they are. */
  readonly bytes: ByteWords | null;
  /** Finds the same words one by one in the text that `prepare` makes of a piece; null: only `split` can. */
  readonly scanner: Scanner | null;
  /** null: the scanner reads the piece itself */
  readonly prepare: ((piece: AlignedText) => AlignedText) | null;
  /** True if words are long: whole pieces, or what stands between two literal texts. */
  readonly isWhole: boolean;
  /** True if the result depends on where a piece stood in the original text. */
  readonly needsAlignment: boolean;
}

/** A pre-tokenizer ready to run. */
export interface CompiledPreTokenizer extends WordFinder {
  readonly split: (piece: AlignedText, out: AlignedText[]) => void;
}
