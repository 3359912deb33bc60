import type { DecodeStage, Emit } from "./stage.js";

/**
 * Removes up to `start` leading and `stop` trailing copies of a character from each token. Trailing copies are held
 * back until more of the token, the next token or the end arrives.
 */
export function createStrip(options: {
  readonly content: string;
  readonly start: number;
  readonly stop: number;
}): DecodeStage {
  const { content, start, stop } = options;
  let leftToCut = start;
  let held = "";
  let wasEmitted = false;
  const put = (text: string, emit: Emit): void => {
    if (text === "") return;
    emit(text, wasEmitted);
    wasEmitted = true;
  };
  const endToken = (emit: Emit): void => {
    const cut = Math.min(stop, held.length / Math.max(1, content.length));
    put(held.slice(0, held.length - cut * content.length), emit);
    held = "";
  };
  return {
    push(text, continues, emit) {
      if (!continues) {
        endToken(emit);
        leftToCut = start;
        wasEmitted = false;
      }
      let rest = text;
      while (leftToCut > 0 && rest.startsWith(content)) {
        rest = rest.slice(content.length);
        leftToCut--;
      }
      if (rest === "") return;
      leftToCut = 0;
      const all = held + rest;
      let tail = all.length;
      while (stop > 0 && tail >= content.length && all.slice(tail - content.length, tail) === content) {
        tail -= content.length;
      }
      held = all.slice(tail);
      put(all.slice(0, tail), emit);
    },
    flush: endToken,
  };
}
