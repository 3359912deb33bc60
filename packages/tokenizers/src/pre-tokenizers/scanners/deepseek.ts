import { LETTER, MARK, NEWLINE, SPACE, SYMBOL } from "./character-classes.js";
import { LAST_WORD_END, Runs, type Scanner, SPACE_UNIT } from "./scanner.js";

/** Runs of Han and kana: [一-龥぀-ゟ゠-ヿ]+ */
export function createKanaScanner(): Scanner {
  const isInside = (unit: number): boolean =>
    (unit >= 0x4e00 && unit <= 0x9fa5) || (unit >= 0x3040 && unit <= 0x30ff);
  return {
    start() {},
    next(units, at, limit) {
      const kind = isInside(units[at] as number);
      let end = at + 1;
      while (end < limit && isInside(units[end] as number) === kind) end++;
      return end;
    },
  };
}

/**
 * The words of DeepSeek V3 between numbers and Han (P = ASCII punctuation):
 * P[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
export function createDeepSeekScanner(): Scanner {
  const runs = new Runs();
  /** End of the match at `at`, or `at`. */
  const match = (at: number): number => {
    const { units } = runs;
    const unit = units[at] as number;
    const classes = runs.classesAt(at);
    const behind = runs.after(at);
    if (unit < 0x7f && (classes & SYMBOL) !== 0) {
      const end = endOfAsciiLetters(units, behind, runs.limit);
      if (end > behind) return end;
    }
    if ((classes & (LETTER | MARK)) !== 0) return runs.end(at, LETTER | MARK);
    const mayLead = (classes & (NEWLINE | SYMBOL)) === 0;
    if (mayLead && (runs.classesAt(behind) & (LETTER | MARK)) !== 0) return runs.end(behind, LETTER | MARK);
    if ((classes & SYMBOL) !== 0) return runs.end(runs.end(at, SYMBOL), NEWLINE);
    if (unit === SPACE_UNIT && (runs.classesAt(behind) & SYMBOL) !== 0) {
      return runs.end(runs.end(behind, SYMBOL), NEWLINE);
    }
    return (classes & SPACE) !== 0 ? runs.endOfSpaces(at) : at;
  };
  return {
    lastEnd: LAST_WORD_END,
    start() {},
    next(units, at, limit) {
      runs.on(units, limit);
      const end = match(at);
      if (end > at) return end;
      let next = at;
      do next = runs.after(next);
      while (next < limit && match(next) === next);
      return next;
    },
  };
}

function endOfAsciiLetters(units: Uint16Array, at: number, limit: number): number {
  let end = at;
  while (end < limit) {
    const lower = (units[end] as number) | 0x20;
    if (lower < 0x61 || lower > 0x7a || (units[end] as number) > 0x7f) break;
    end++;
  }
  return end;
}
