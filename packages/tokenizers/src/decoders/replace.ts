import type { TextPattern } from "../text-pattern.js";
import type { DecodeStage, Emit } from "./stage.js";

/**
 * Replaces what a pattern matches inside each token. Where a token may come in several pieces the text that a later
 * piece could still complete is held back: up to one character less than a literal pattern, all of it for a regular
 * expression.
 */
export function createReplace(
  compiled: RegExp,
  options: { readonly pattern: TextPattern; readonly content: string },
): DecodeStage {
  const { pattern, content } = options;
  let held = "";
  let wasEmitted = false;
  const put = (text: string, emit: Emit): void => {
    if (text === "") return;
    emit(text, wasEmitted);
    wasEmitted = true;
  };
  const endToken = (emit: Emit): void => {
    put(
      held.replace(compiled, () => content),
      emit,
    );
    held = "";
  };
  return {
    push(text, continues, emit) {
      if (!continues) {
        endToken(emit);
        wasEmitted = false;
      }
      held += text;
      if (pattern.type === "Regex") return;
      const replacedTo =
        held.lastIndexOf(pattern.text) + (held.includes(pattern.text) ? pattern.text.length : 1);
      const safeTo = Math.max(replacedTo, held.length - possibleStart(held, pattern.text));
      put(
        held.slice(0, safeTo).replace(compiled, () => content),
        emit,
      );
      held = held.slice(safeTo);
    },
    flush: endToken,
  };
}

/** Length of the longest end of `text` with which `literal` may begin, `literal` itself excluded. */
function possibleStart(text: string, literal: string): number {
  for (let length = Math.min(text.length, literal.length - 1); length > 0; length--) {
    if (literal.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
