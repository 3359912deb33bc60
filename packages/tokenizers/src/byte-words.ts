import { byteLevelText } from "./byte-level.js";
import type { CompiledModel } from "./models/compiled.js";
import type { TokenBuffer } from "./token-buffer.js";
import { bytesToUnits, encodeUnits } from "./utf8-units.js";

/** Gives a model the words of a text as bytes. */
export interface ByteWords {
  /** Appends the tokens of units [start, end) to an empty buffer; ranges are in units of the word. */
  tokenize(
    model: CompiledModel,
    word: { readonly units: Uint16Array; readonly start: number; readonly end: number },
    out: TokenBuffer,
  ): void;
}

/** A buffer for longer words is made for each anew. */
const MAX_KEPT_BYTES = 1 << 16;

/** Writes words as UTF-8 and finds the units of the tokens again. */
export function createByteWords(): ByteWords {
  let bytes = new Uint8Array(256);
  return {
    tokenize(model, { units, start, end }, out) {
      const needed = (end - start) * 3;
      if (bytes.length < needed || bytes.length > MAX_KEPT_BYTES) {
        bytes = new Uint8Array(Math.max(256, needed));
      }
      const length = encodeUnits(units, start, end, bytes);
      if (model.tokenizeBytes === null) model.tokenize(byteLevelText(bytes, length), out);
      else model.tokenizeBytes(bytes, length, out);
      if (length !== end - start) bytesToUnits(bytes, out);
    },
  };
}
