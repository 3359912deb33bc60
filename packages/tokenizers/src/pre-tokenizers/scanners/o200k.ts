import { LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER } from "./character-classes.js";
import { LAST_WORD_END, Runs, type Scanner, SPACE_UNIT } from "./scanner.js";

const SLASH = 0x2f;

/**
 * The words of GPT-4o, which begin anew at a capital inside a word. With U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and
 * L = [\p{Ll}\p{Lm}\p{Lo}\p{M}]:
 * [^\r\n\p{L}\p{N}]?U*L+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|...)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|...
 */
export function createO200kScanner(): Scanner {
  const runs = new Runs();
  /** End of U*L+, or -1: where nothing lower follows, the run of U gives back what stands behind its last L. */
  const endOfMixed = (at: number): number => {
    const upperEnd = runs.end(at, UPPER);
    const lowerEnd = runs.end(upperEnd, LOWER);
    if (lowerEnd > upperEnd) return lowerEnd;
    let end = -1;
    for (let i = at; i < upperEnd; i = runs.after(i))
      if ((runs.classesAt(i) & LOWER) !== 0) end = runs.after(i);
    return end;
  };
  const endOfUpper = (at: number): number => {
    const end = runs.end(at, UPPER);
    return end > at ? runs.end(end, LOWER) : -1;
  };
  const endOfLetters = (at: number, behind: number): number => {
    let end = behind > at ? endOfMixed(behind) : -1;
    if (end < 0) end = endOfMixed(at);
    if (end < 0 && behind > at) end = endOfUpper(behind);
    return end < 0 ? endOfUpper(at) : end;
  };
  const endOfOther = (at: number): number => {
    let end = runs.endOfOther(at);
    while (end < runs.limit && (runs.units[end] === SLASH || (runs.classesAt(end) & NEWLINE) !== 0)) end++;
    return end;
  };
  return {
    lastEnd: LAST_WORD_END,
    start() {},
    next(units, at, limit) {
      runs.on(units, limit);
      const classes = runs.classesAt(at);
      if ((classes & NUMBER) !== 0) return runs.endOfFew(at, NUMBER, 3);
      const behind = runs.after(at);
      const mayLead = (classes & (LETTER | NEWLINE)) === 0;
      const hasLetters = ((classes | (mayLead ? runs.classesAt(behind) : 0)) & (UPPER | LOWER)) !== 0;
      if (hasLetters) return runs.endOfContraction(endOfLetters(at, mayLead ? behind : at), true);
      if ((classes & SPACE) === 0) return endOfOther(behind);
      if (units[at] === SPACE_UNIT && runs.isOther(behind)) return endOfOther(behind);
      return runs.endOfSpaces(at);
    },
  };
}
