import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenJson, goldenStrings } from "../../test/golden.js";
import { HeddleError } from "../error.js";
import { fromCompact, toCompact } from "./compact.js";
import { fromTokenizerJson, toTokenizerJson } from "./tokenizer-json.js";

const names = ["bpe_bytelevel", "bpe_split_regex", "bpe_byte_fallback", "unigram", "wordpiece"];

describe.each(names)("the compact form of %s", (name) => {
  const tokenizer = fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`), {
    roles: { unk: "<unk>" },
  });
  const bytes = toCompact(tokenizer);

  it("holds the same and encodes the same", () => {
    const loaded = fromCompact(bytes);
    expect(toTokenizerJson(loaded)).toEqual(toTokenizerJson(tokenizer));
    expect(loaded.config.roles).toEqual(tokenizer.config.roles);
    for (const text of goldenStrings) {
      expect([...loaded.encodeIds(text)]).toEqual([...tokenizer.encodeIds(text)]);
    }
  });

  it("loads from any place in memory", () => {
    const moved = new Uint8Array(bytes.length + 1);
    moved.set(bytes, 1);
    expect(fromCompact(moved.subarray(1)).encodeIds("the cat")).toEqual(tokenizer.encodeIds("the cat"));
  });

  it("is refused when it is cut off", () => {
    for (const length of [0, 3, 28, 100, bytes.length - 2, bytes.length - 4]) {
      expect(() => fromCompact(bytes.slice(0, length))).toThrowError(HeddleError);
    }
  });
});

it("damage is found", () => {
  const bytes = toCompact(fromTokenizerJson(goldenJson<object>("hf/bpe_bytelevel/tokenizer.json.gz")));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const damaged = bytes.slice();
      damaged[at] = value;
      if (damaged[at] === bytes[at]) return;
      expect(() => fromCompact(damaged)).toThrowError(HeddleError);
    }),
    { numRuns: 300 },
  );
});

it("a damaged header and a file cut anywhere are refused at once", () => {
  const bytes = toCompact(fromTokenizerJson(goldenJson<object>("hf/bpe_bytelevel/tokenizer.json.gz")));
  const words = fc.oneof(fc.nat(100), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }));
  fc.assert(
    fc.property(fc.nat(6), words, (word, value) => {
      const damaged = bytes.slice();
      const header = new Int32Array(damaged.buffer, 0, 7);
      if (header[word] === value) return;
      header[word] = value;
      expect(() => fromCompact(damaged)).toThrowError(HeddleError);
    }),
  );
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), (length) => {
      expect(() => fromCompact(bytes.slice(0, length))).toThrowError(HeddleError);
    }),
  );
});

it("says what is wrong", () => {
  expect(() => fromCompact(new Uint8Array(32))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: fromCompact: the file must have "HDTK" and version 3 at the start; got 0x0 and 0. Write it anew with toCompact.]`,
  );
});
