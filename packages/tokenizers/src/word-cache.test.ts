import { describe, expect, it } from "vitest";
import { TokenBuffer } from "./token-buffer.js";
import { hashUnits } from "./unit-hash.js";
import { MAX_CACHED_UNITS, type Word, WordCache } from "./word-cache.js";

const wordOf = (text: string): Word => {
  const units = Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  return { units, start: 0, end: text.length, hash: hashUnits(units, 0, text.length) };
};

const tokensOf = (...tokens: [id: number, start: number, end: number][]): TokenBuffer => {
  const buffer = new TokenBuffer();
  for (const token of tokens) buffer.push(...token);
  return buffer;
};

function found(cache: WordCache, text: string, base: number): number[][] | null {
  const out = new TokenBuffer();
  if (!cache.append(wordOf(text), out, base)) return null;
  return Array.from({ length: out.length }, (_, i) => [out.ids[i], out.starts[i], out.ends[i]] as number[]);
}

describe("WordCache", () => {
  it("gives the tokens of a word back, ranges counted from the base", () => {
    const cache = new WordCache();
    cache.set(wordOf("abc"), tokensOf([7, 0, 1], [2 ** 31 - 1, 1, 3]));
    cache.set(wordOf("ab"), tokensOf());
    expect(found(cache, "abc", 100)).toEqual([
      [7, 100, 101],
      [2 ** 31 - 1, 101, 103],
    ]);
    expect(found(cache, "ab", 5)).toEqual([]);
    expect(found(cache, "abd", 0)).toBeNull();
  });

  it("keeps words of the most units and tokens that fit and no longer ones", () => {
    const cache = new WordCache();
    const long = "x".repeat(MAX_CACHED_UNITS);
    const most = Array.from({ length: 255 }, (_, i): [number, number, number] => [i, 0, MAX_CACHED_UNITS]);
    cache.set(wordOf(long), tokensOf(...most));
    expect(found(cache, long, 0)).toEqual(most);
    cache.set(wordOf("more"), tokensOf(...most, [0, 0, 1]));
    expect(found(cache, "more", 0)).toBeNull();
  });

  it("never gives a wrong word, however many come, and keeps those that recur", () => {
    const cache = new WordCache();
    const [often, seldom] = ["often", "seldom"];
    cache.set(wordOf(often), tokensOf([1, 0, 5]));
    cache.set(wordOf(seldom), tokensOf([2, 0, 6]));
    for (let i = 0; i < 150_000; i++) {
      const word = `w${i}`;
      expect(found(cache, word, 0)).toBeNull();
      cache.set(wordOf(word), tokensOf([i, 0, 1], [i + 1, 1, word.length]));
      if (i % 1000 === 0) expect(found(cache, often, 0)).toEqual([[1, 0, 5]]);
    }
    expect(found(cache, seldom, 0)).toBeNull();
    let numKept = 0;
    for (let i = 0; i < 150_000; i++) {
      const tokens = found(cache, `w${i}`, 0);
      if (tokens === null) continue;
      numKept++;
      expect(tokens[0]).toEqual([i, 0, 1]);
    }
    expect(numKept).toBeGreaterThan(20_000);
  });
});
