import type { Encoding } from "./encoding.js";

/** A stretch of text and the tokens that stand for it. */
export interface TokenSpan {
  /** [start, end) in UTF-16 units of the text. */
  readonly start: number;
  readonly end: number;
  /** Empty for tokens that were added and stand for no text. */
  readonly text: string;
  /** Places of the tokens in the encoding; none for text that no token stands for, several where tokens share a character. */
  readonly tokens: readonly number[];
}

/**
 * Cuts a text into the stretches that its tokens stand for, for showing them: joined, the stretches are the text. Tokens
 * that hold parts of one character share a stretch.
 *
 * @param encoding  of `text` alone, without truncation
 */
export function spanTokens(text: string, encoding: Encoding): TokenSpan[] {
  const spans: TokenSpan[] = [];
  const { sequenceIds } = encoding;
  let reached = 0;
  /** Tokens of the first bytes of a character, where a model gives the character to its last byte. */
  let waiting: number[] = [];
  const put = (start: number, end: number, tokens: readonly number[]): void => {
    spans.push({ start, end, text: text.slice(start, end), tokens });
    reached = end;
  };
  for (let i = 0; i < encoding.length; i++) {
    const [start, end] = [encoding.starts[i] as number, encoding.ends[i] as number];
    const isAdded = (sequenceIds[i] as number) < 0;
    if (isAdded || end <= start) {
      if (isAdded) put(reached, reached, [i]);
      else waiting.push(i);
      continue;
    }
    const tokens = [...waiting, i];
    waiting = [];
    const last = spans.at(-1);
    if (start < reached && last !== undefined) {
      spans.pop();
      put(last.start, Math.max(last.end, end), [...last.tokens, ...tokens]);
      continue;
    }
    if (start > reached) put(reached, start, []);
    put(start, end, tokens);
  }
  if (waiting.length > 0) put(reached, reached, waiting);
  if (reached < text.length) put(reached, text.length, []);
  return spans;
}
