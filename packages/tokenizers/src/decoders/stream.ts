import type { DecodeStage, Emit } from "./stage.js";

/** Decodes one token at a time; what it returns, joined, is what decoding all tokens at once returns. */
export interface StreamDecoder {
  /** Takes the next id and returns the text that has become certain: often none, never half a character. */
  push(id: number): string;
  /** Ends the text and returns what was still held. */
  flush(): string;
}

/** Feeds tokens through decoding stages; `textOf` returns null for tokens that are left out. */
export function createStreamDecoder(
  stages: readonly DecodeStage[],
  textOf: (id: number) => string | null,
): StreamDecoder {
  let out = "";
  const emits: Emit[] = [];
  for (let i = 0; i <= stages.length; i++) {
    const stage = stages[i];
    const next = i + 1;
    emits.push(
      stage === undefined
        ? (text) => {
            out += text;
          }
        : (text, continues) => stage.push(text, continues, emits[next] as Emit),
    );
  }
  const take = (): string => {
    const text = out;
    out = "";
    return text;
  };
  return {
    push(id) {
      const token = textOf(id);
      if (token !== null) (emits[0] as Emit)(token, false);
      return take();
    },
    flush() {
      for (const [i, stage] of stages.entries()) stage.flush(emits[i + 1] as Emit);
      return take();
    },
  };
}
