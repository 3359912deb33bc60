import { PairTable } from "./pair-table.js";

/**
 * Finds places where a word can be cut without changing its tokens: between two known characters that stand next to
 * each other in no token. No merge can ever reach across such a place, so the parts may be tokenized, and remembered,
 * one by one. In a text whose spaces are written as U+2581 these are, above all, the spaces.
 */
export interface WordCuts {
  /** Returns the first such place behind `from`, or the word's end. */
  next(word: string, from: number): number;
}

/** Prepares the search from all tokens that may come out of merging. */
export function createWordCuts(tokens: Iterable<string>): WordCuts {
  const isKnown = new Uint8Array(0x10000);
  const neighbours = new PairTable(1 << 12);
  for (const token of tokens) {
    let left = token.charCodeAt(0);
    isKnown[left] = 1;
    for (let i = 1; i < token.length; i++) {
      const right = token.charCodeAt(i);
      isKnown[right] = 1;
      neighbours.set(left, right, 1);
      left = right;
    }
  }
  return {
    next(word, from) {
      let left = word.charCodeAt(from);
      for (let at = from + 1; at < word.length; at++) {
        const right = word.charCodeAt(at);
        const isInsideCharacter = right >= 0xdc00 && right <= 0xdfff;
        const isSafe = isKnown[left] === 1 && isKnown[right] === 1 && !isInsideCharacter;
        if (isSafe && neighbours.get(left, right) < 0) return at;
        left = right;
      }
      return word.length;
    },
  };
}
