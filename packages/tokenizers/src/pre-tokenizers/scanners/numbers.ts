import { NUMBER } from "./character-classes.js";
import { Runs, type Scanner } from "./scanner.js";

/** Sets numbers apart, at most so many digits in a word: \p{N}{1,most} */
export function createNumberScanner(most: number): Scanner {
  const runs = new Runs();
  return {
    start() {},
    next(units, at, limit) {
      runs.on(units, limit);
      if ((runs.classesAt(at) & NUMBER) !== 0) return runs.endOfFew(at, NUMBER, most);
      let end = at;
      while (end < limit && (runs.classesAt(end) & NUMBER) === 0) end = runs.after(end);
      return end;
    },
  };
}
