import type { Scanner } from "./scanner.js";

/** Lets each scanner cut the words of the one before it. */
export function createSequenceScanner(scanners: readonly Scanner[]): Scanner {
  /** Where the present word of each scanner ends. */
  const ends = new Float64Array(scanners.length);
  return {
    lastEnd: scanners.at(-1)?.lastEnd,
    start(text) {
      ends.fill(0);
      for (const scanner of scanners) scanner.start(text);
    },
    next(units, at, limit) {
      let end = limit;
      for (let i = 0; i < scanners.length; i++) {
        if ((ends[i] as number) <= at) ends[i] = (scanners[i] as Scanner).next(units, at, end);
        end = ends[i] as number;
      }
      return end;
    },
  };
}
