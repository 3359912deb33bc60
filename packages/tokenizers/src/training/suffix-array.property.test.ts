import fc from "fast-check";
import { expect, it } from "vitest";
import { commonPrefixes, repeatedSubstrings, sortSuffixes } from "./suffix-array.js";

const sequences = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 60 });

/** Order of two sequences; a prefix comes first. */
function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((symbol, i) => symbol !== b[i]);
  return at < 0 ? a.length - b.length : (a[at] as number) - (b[at] ?? -1);
}

it("suffixes are sorted, and neighbours share what is said", () => {
  fc.assert(
    fc.property(sequences, (list) => {
      const symbols = Int32Array.from(list);
      const order = [...sortSuffixes(symbols)];
      const suffixes = list.map((_, i) => i).sort((i, j) => compare(list.slice(i), list.slice(j)));
      expect(order).toEqual(suffixes);
      const shared = commonPrefixes(symbols, Int32Array.from(order));
      for (let k = 1; k < order.length; k++) {
        const [a, b] = [list.slice(order[k - 1]), list.slice(order[k])];
        const differs = b.findIndex((symbol, i) => symbol !== a[i]);
        expect(shared[k]).toBe(differs < 0 ? b.length : differs);
      }
    }),
  );
});

it("repeated substrings are those with two continuations, counted right", () => {
  fc.assert(
    fc.property(sequences, (list) => {
      const followers = new Map<string, number[]>();
      for (let from = 0; from < list.length; from++) {
        for (let to = from + 1; to <= list.length; to++) {
          const key = list.slice(from, to).join();
          followers.set(key, [...(followers.get(key) ?? []), list[to] ?? -1]);
        }
      }
      const expected = [...followers].filter(([, behind]) => new Set(behind).size > 1);
      const found = Array.from(repeatedSubstrings(Int32Array.from(list)), ({ start, length, count }) => [
        list.slice(start, start + length).join(),
        count,
      ]);
      expect(new Map(found as [string, number][])).toEqual(
        new Map(expected.map(([key, behind]) => [key, behind.length])),
      );
      expect(found.length).toBe(expected.length);
    }),
  );
});
