import { codePointLength } from "../aligned-text.js";
import type { TokenBuffer } from "../token-buffer.js";

/** A stretch of the original text that begins at `start`. */
interface Stretch {
  readonly text: string;
  readonly start: number;
}

/** Moves the ranges of tokens, from token `from` on, that begin before the stretch which they were found in. */
export type CoverPrefix = (buffer: TokenBuffer, from: number, stretch: Stretch) => void;

/** What was put before a text counts as part of its first character. */
export const coverPrefix: CoverPrefix = (buffer, from, { text, start }) => {
  if (!buffer.keepsRanges) return;
  const { starts, ends, length } = buffer;
  const end = start + codePointLength(text, start);
  for (let i = from; i < length && (starts[i] as number) < start; i++) {
    starts[i] = start;
    if ((ends[i] as number) <= start) ends[i] = end;
  }
};
