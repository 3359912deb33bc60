import type { AlignedText } from "../aligned-text.js";
import { type SplitBehavior, splitByPattern } from "./split.js";

/** Cuts one piece and appends what comes out. */
export type Step = (piece: AlignedText, out: AlignedText[]) => void;

const NOTHING: Step = (piece, out) => {
  out.push(piece);
};

/** Lets each step cut what the one before it made. */
export function chain(steps: readonly Step[]): Step {
  const [first = NOTHING, ...rest] = steps;
  if (rest.length === 0) return first;
  return (piece, out) => {
    let pieces: AlignedText[] = [];
    first(piece, pieces);
    for (const step of rest) {
      const next: AlignedText[] = [];
      for (const inner of pieces) step(inner, next);
      pieces = next;
    }
    for (const inner of pieces) out.push(inner);
  };
}

/** ASCII's symbols and Unicode's punctuation. */
export const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/gu;

export function byRegExp(pattern: RegExp, behavior: SplitBehavior, invert = false): Step {
  return (piece, out) => splitByPattern(piece, { pattern, behavior, invert }, out);
}

/** BERT's words: white space goes, punctuation stands alone. */
export function bertSteps(): Step[] {
  return [byRegExp(/\p{White_Space}/gu, "Removed"), byRegExp(PUNCTUATION, "Isolated")];
}
