import { LETTER, NUMBER, SPACE } from "./character-classes.js";
import { LAST_WORD_END, Runs, type Scanner, SPACE_UNIT } from "./scanner.js";

/** GPT-2's words: '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
export function createGpt2Scanner(): Scanner {
  const runs = new Runs();
  return {
    lastEnd: LAST_WORD_END,
    start() {},
    next(units, at, limit) {
      runs.on(units, limit);
      const contraction = runs.endOfContraction(at, false);
      if (contraction > at) return contraction;
      const body = units[at] === SPACE_UNIT && at + 1 < limit ? at + 1 : at;
      const classes = runs.classesAt(body);
      if ((classes & LETTER) !== 0) return runs.end(body, LETTER);
      if ((classes & NUMBER) !== 0) return runs.end(body, NUMBER);
      if ((classes & SPACE) === 0) return runs.endOfOther(body);
      return runs.endOfSpacesOnly(at, runs.end(at, SPACE));
    },
  };
}
