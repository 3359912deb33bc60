import { LETTER, NEWLINE, NUMBER, SPACE } from "./character-classes.js";
import { LAST_WORD_END, Runs, type Scanner, SPACE_UNIT } from "./scanner.js";

/** How the kin of cl100k differ. */
export interface Cl100kOptions {
  /** Digits of a word of numbers at most: 3 for GPT-4 and Llama 3, 1 for Qwen. */
  readonly maxDigits: number;
  /** White space at the very end of a text is one word even if it holds line breaks (`\s++$`). */
  readonly joinsLastSpaces: boolean;
}

/**
 * The words of GPT-4, Llama 3 and Qwen 2:
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
export function createCl100kScanner({ maxDigits, joinsLastSpaces }: Cl100kOptions): Scanner {
  const runs = new Runs();
  return {
    lastEnd: LAST_WORD_END,
    start() {},
    next(units, at, limit) {
      runs.on(units, limit);
      const classes = runs.classesAt(at);
      if ((classes & LETTER) !== 0) return runs.end(at, LETTER);
      if ((classes & NUMBER) !== 0) return runs.endOfFew(at, NUMBER, maxDigits);
      const contraction = runs.endOfContraction(at, true);
      if (contraction > at) return contraction;
      const behind = runs.after(at);
      if ((classes & NEWLINE) === 0 && (runs.classesAt(behind) & LETTER) !== 0)
        return runs.end(behind, LETTER);
      if ((classes & SPACE) === 0) return runs.end(runs.endOfOther(behind), NEWLINE);
      if (units[at] === SPACE_UNIT && runs.isOther(behind)) return runs.end(runs.endOfOther(behind), NEWLINE);
      if (joinsLastSpaces && runs.end(at, SPACE) === limit) return limit;
      return runs.endOfSpaces(at);
    },
  };
}
