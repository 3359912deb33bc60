import { type Frame, framed } from "./frame.js";

/** Encodes a text that comes in parts; the ids of all parts, joined, are those of the whole text. */
export interface StreamEncoder {
  /** Takes the next part and returns the ids that have become certain. */
  push(text: string): Int32Array;
  /** Ends the text and returns the other ids. */
  flush(): Int32Array;
}

/** What the encoder needs of a tokenizer. */
export interface StreamEncoderParts {
  /** True if a word always ends between a letter or digit and white space, whatever stands around. */
  readonly endsWordsAtSpaces: boolean;
  /** Ids around the text; null: only the whole text can be encoded. */
  readonly frame: Frame | null;
  /** Encodes without the frame. */
  encode(text: string): Int32Array;
  /** Encodes a whole text with all that belongs around it. */
  encodeWhole(text: string): Int32Array;
}

const SPACE = /^\p{White_Space}$/u;
const LETTER_OR_DIGIT = /[\p{L}\p{N}]$/u;

/**
 * Creates an encoder of one text. Text is held until a letter or digit is followed by white space: there a word ends,
 * and no special token reaches across. Where a tokenizer gives no such promise all of the text is held until the end.
 */
export function createStreamEncoder(parts: StreamEncoderParts): StreamEncoder {
  const { endsWordsAtSpaces, frame } = parts;
  let held: string[] = [];
  let tail = "";
  let isFirst = true;
  const take = (last: string): string => {
    const text = held.join("") + last;
    held = [];
    return text;
  };
  const withFrame = (ids: Int32Array, isLast: boolean): Int32Array => {
    if (frame === null) return ids;
    const before = isFirst ? frame.before : [];
    const after = isLast ? frame.after : [];
    isFirst = false;
    return framed(ids, { before, after });
  };
  return {
    push(text) {
      if (text === "") return new Int32Array(0);
      const cut = endsWordsAtSpaces && frame !== null ? lastWordEnd(tail, text) : -1;
      tail = (tail + text).slice(-2);
      if (cut < 0) {
        held.push(text);
        return new Int32Array(0);
      }
      const done = take(text.slice(0, cut));
      held.push(text.slice(cut));
      return withFrame(parts.encode(done), false);
    },
    flush() {
      const rest = take("");
      return frame === null ? parts.encodeWhole(rest) : withFrame(parts.encode(rest), true);
    },
  };
}

/** The last place in `text` where white space follows a letter or digit, `before` standing in front of it; -1: none. */
function lastWordEnd(before: string, text: string): number {
  for (let at = text.length - 1; at >= 0; at--) {
    if (!SPACE.test(text[at] as string)) continue;
    const left = at >= 2 ? text.slice(at - 2, at) : (before + text.slice(0, at)).slice(-2);
    if (LETTER_OR_DIGIT.test(left)) return at;
  }
  return -1;
}
