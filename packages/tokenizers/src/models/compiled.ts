import type { TokenBuffer } from "../token-buffer.js";
import type { Vocabulary } from "../vocabulary.js";
import type { WordCuts } from "../word-cuts.js";

/** A model ready to run. */
export interface CompiledModel {
  readonly vocabulary: Vocabulary;
  /** Makes the table of places where words may be cut first; null if the tokens of a word depend on all of it. */
  readonly createCuts: (() => WordCuts) | null;
  /** The same for words whose bytes `tokenizeBytes` gets. */
  readonly createByteCuts: (() => WordCuts) | null;
  /** Appends the tokens of one word; ranges are in UTF-16 units of the word. */
  tokenize(word: string, out: TokenBuffer): void;
  /** The same for units [start, end), where no string need be made; absent or null: `tokenize` it is. */
  readonly tokenizeUnits?:
    | ((units: Uint16Array, start: number, end: number, out: TokenBuffer) => void)
    | null;
  /** Appends the tokens of the first `length` bytes; ranges are in bytes. Null: write them in the byte alphabet. */
  readonly tokenizeBytes: ((bytes: Uint8Array, length: number, out: TokenBuffer) => void) | null;
}
