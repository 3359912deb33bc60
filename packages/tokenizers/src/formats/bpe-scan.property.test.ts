import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenJson } from "../../test/golden.js";
import type { BpeModel } from "../models/bpe-model.js";
import { scanBpe } from "./bpe-scan.js";
import { readModel } from "./model-json.js";

const names = ["bpe_bytelevel", "bpe_split_regex", "bpe_byte_fallback"];
/** What JSON.parse and readModel make of the file; null if they refuse it. */
function twin(text: string): { rest: unknown; vocab: unknown; merges: unknown } | null {
  try {
    const file = JSON.parse(text);
    const model = readModel(file.model) as BpeModel;
    return {
      rest: { ...file, model: { ...file.model, vocab: null, merges: null } },
      vocab: model.vocab,
      merges: model.merges,
    };
  } catch {
    return null;
  }
}

function scanned(text: string): ReturnType<typeof twin> {
  const found = scanBpe(new TextEncoder().encode(text));
  if (found === null) return null;
  try {
    const rest = JSON.parse(found.rest);
    const { vocab, merges } = readModel(rest.model, found.packed) as BpeModel;
    return { rest, vocab, merges };
  } catch {
    return null;
  }
}

/** Files are UTF-8: half a surrogate pair becomes U+FFFD. */
const wellFormed = (text: string): string => new TextDecoder().decode(new TextEncoder().encode(text));

/** A small file with all kinds of escapes and white space in it. */
const small = `{ "version": "1.0", "added_tokens": [{"content": "a \\" ] }"}], "model": {"type":"BPE",
  "vocab": {"a":0,\t"\\u00e9\\n":1, "\\ud83d\\ude00": 2, "é😀" : 3, "aa": 4, "aaa": 5}, "merges": [["a", "a"], "aa a"], "unk_token": null } }`;

describe("reading byte-pair files without strings", () => {
  it.each(names)("finds what JSON.parse finds in %s", (name) => {
    const file = goldenJson<object>(`hf/${name}/tokenizer.json.gz`);
    for (const text of [JSON.stringify(file), JSON.stringify(file, null, 2)]) {
      expect(scanned(text)).not.toBeNull();
      expect(scanned(text)).toEqual(twin(text));
    }
  });

  it("reads escapes and both ways to write a merge", () => {
    expect(scanned(small)).toEqual(twin(small));
    expect(scanned(small)?.vocab).toEqual(Object.entries(JSON.parse(small).model.vocab));
  });

  it("reads more tokens and merges than the size of the file lets expect", () => {
    const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
    const pairs = letters.flatMap((left) => letters.map((right) => left + right));
    const long = Array.from({ length: 40 }, (_, i) => "z".repeat(i + 3));
    const tokens = [...letters, ...pairs, ...long];
    const model = {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [...pairs, ...long].map((token) => [token.slice(0, -1), token.slice(-1)]),
    };
    const text = JSON.stringify({ version: "1.0", model });
    expect(scanned(text)).not.toBeNull();
    expect(scanned(text)).toEqual(twin(text));
    // Nearly all of the file are units of few tokens, or many tokens of one unit.
    const longest = JSON.stringify({
      model: { type: "BPE", vocab: { x: 0, ["y".repeat(5000)]: 1 }, merges: [] },
    });
    expect(scanned(longest)).toEqual(twin(longest));
    const others = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(0x4e00 + i));
    const shortest = JSON.stringify({
      model: { type: "BPE", vocab: Object.fromEntries(others.map((token, id) => [token, id])), merges: [] },
    });
    expect(scanned(shortest)).toEqual(twin(shortest));
  });

  it("leaves malformed UTF-8 to JSON.parse", () => {
    const bytes = new TextEncoder().encode(small.replace('"aa":', '"xyz": 6, "aa":'));
    const at = bytes.indexOf("x".charCodeAt(0));
    const put = (...token: number[]) => {
      const changed = bytes.slice();
      changed.set(token, at);
      return scanBpe(changed);
    };
    expect(put(0xc4, 0xa0, 0x61)).not.toBeNull();
    for (const token of [
      [0xc0, 0x80],
      [0xc1, 0xbf],
      [0xc4, 0x61],
      [0x61, 0x62, 0xc4],
      [0x80],
      [0xe2, 0x96],
    ]) {
      expect(put(...token)).toBeNull();
    }
  });

  it("finds the same or nothing in damaged files", () => {
    const damage = fc.record({
      at: fc.nat(small.length),
      cut: fc.nat(3),
      put: fc.oneof(fc.constantFrom(...'"\\{}[],: 0129.e\n\ud800é'), fc.string({ maxLength: 2 })),
    });
    fc.assert(
      fc.property(damage, ({ at, cut, put }) => {
        const text = wellFormed(small.slice(0, at) + put + small.slice(at + cut));
        const found = scanned(text);
        if (found !== null) expect(found).toEqual(twin(text));
      }),
      { numRuns: 5000 },
    );
  });
});
