import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { checkOfWords, checkOfWordsByTwin } from "./word-check.js";

/** Words that follow from a seed. */
function wordsOf(length: number, seed: number): Uint32Array {
  let state = seed;
  return Uint32Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    return state;
  });
}

it("gives the same in WebAssembly and without it", () => {
  const lengths = fc.oneof(
    fc.integer({ min: 3, max: 100 }),
    fc.integer({ min: 8150, max: 8250 }),
    fc.nat(40_000),
  );
  fc.assert(
    fc.property(
      lengths.filter((length) => length >= 3),
      fc.integer(),
      (length, seed) => {
        const words = wordsOf(length, seed);
        expect(checkOfWords(words)).toBe(checkOfWordsByTwin(words));
      },
    ),
  );
});

it("reads no word in vain: each one that changes changes the check", () => {
  const words = wordsOf(8192 + 43, 7);
  const before = checkOfWords(words);
  for (let at = 3; at < words.length; at += at < 8100 ? 501 : 1) {
    const kept = words[at] as number;
    words[at] = kept ^ (1 << (at & 31));
    expect(checkOfWords(words), `word ${at}`).not.toBe(before);
    words[at] = kept;
  }
});

it("runs in WebAssembly here, and without it where it is forbidden", () => {
  const words = wordsOf(1000, 3);
  const module = vi.spyOn(WebAssembly, "Module");
  const expected = checkOfWords(words);
  expect(module).toHaveReturned();
  module.mockImplementation(function forbidden() {
    throw new WebAssembly.CompileError("forbidden");
  });
  expect(checkOfWords(words)).toBe(expected);
  module.mockRestore();
});
