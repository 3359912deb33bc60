import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenBytes } from "../../test/golden.js";
import { HeddleError } from "../error.js";
import { parseRanks, scanRanks } from "./rank-lines.js";

const text = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));

/** What the slow twin says; null where it refuses the file. */
function parsed(ranks: string): readonly (readonly [string, number])[] | null {
  try {
    return [...parseRanks(ranks).entries()];
  } catch (error) {
    if (HeddleError.is(error)) return null;
    throw error;
  }
}

describe("the quick way to read rank files", () => {
  it("reads what parseRanks reads", () => {
    const expected = parsed(text);
    expect([...(scanRanks(text)?.entries() ?? [])]).toEqual(expected);
    expect([...(scanRanks(text.trimEnd())?.entries() ?? [])]).toEqual(expected);
  });

  it("reads damaged files like parseRanks, or leaves them to it", () => {
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom(..."A/= \n\r9-é"), (at, char) => {
        const damaged = text.slice(0, at) + char + text.slice(at + 1);
        const scanned = scanRanks(damaged);
        if (scanned !== null) expect([...scanned.entries()]).toEqual(parsed(damaged));
      }),
      { numRuns: 60 },
    );
  });
});
