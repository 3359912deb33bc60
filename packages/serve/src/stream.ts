import { createStopMatcher } from "@heddle/models";

/** Turns token ids into text piece by piece; never emits half a character. */
export interface TokenDecoder {
  push(id: number): string;
  /** Whatever is left, with U+FFFD in place of an incomplete character. */
  flush(): string;
}

/** Text that became certain, and whether a stop string ended it. */
export interface TextPiece {
  readonly text: string;
  readonly stopped: boolean;
}

/** Turns the ids of one request into its text: whole characters only, ending before the first stop string. */
export interface TextStream {
  push(id: number): TextPiece;
  /** Ends the stream: releases text held back because it might have begun a stop string. */
  flush(): TextPiece;
}

/** Composes a token decoder with a stop matcher. */
export function createTextStream(decoder: TokenDecoder, stop: readonly string[] = []): TextStream {
  const matcher = createStopMatcher(stop);
  const match = (text: string): TextPiece => {
    const { emit, stopped } = matcher.push(text);
    return { text: emit, stopped };
  };
  return {
    push: (id) => match(decoder.push(id)),
    flush() {
      const last = match(decoder.flush());
      return last.stopped ? last : { text: last.text + matcher.flush(), stopped: false };
    },
  };
}
