import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { goldenJson } from "../../test/golden.js";
import { byteLevelText } from "../byte-level.js";
import type { BpeModel } from "../models/bpe-model.js";
import { noteMeetings } from "../word-cuts.js";
import { type BpeReader, createBpeReader } from "./bpe-reader.js";
import { scanBpe, scanBpeBy } from "./bpe-scan.js";
import { JsonCursor } from "./json-cursor.js";
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

type CreateReader = (bytes: Uint8Array) => BpeReader | null;

/** Scans with a reader even what is too short to be worth one. */
function scan(bytes: Uint8Array, createReader: CreateReader | null): ReturnType<typeof scanBpe> {
  const reader = createReader?.(bytes) ?? null;
  if (createReader !== null) expect(reader).not.toBeNull();
  return scanBpeBy(reader, bytes);
}

function scanned(text: string, createReader: CreateReader | null = null): ReturnType<typeof twin> {
  const found = scan(new TextEncoder().encode(text), createReader);
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

describe.each([
  ["each entry as a string", null, 5000],
  ["most entries in WebAssembly", createBpeReader, 300],
] as const)("reading byte-pair files: %s", (_, createReader, numRuns) => {
  it.each(names)("finds what JSON.parse finds in %s", (name) => {
    const file = goldenJson<object>(`hf/${name}/tokenizer.json.gz`);
    for (const text of [JSON.stringify(file), JSON.stringify(file, null, 2)]) {
      expect(scanned(text, createReader)).not.toBeNull();
      expect(scanned(text, createReader)).toEqual(twin(text));
    }
  });

  it("reads escapes and both ways to write a merge", () => {
    expect(scanned(small, createReader)).toEqual(twin(small));
    expect(scanned(small, createReader)?.vocab).toEqual(Object.entries(JSON.parse(small).model.vocab));
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
    expect(scanned(text, createReader)).not.toBeNull();
    expect(scanned(text, createReader)).toEqual(twin(text));
    // Nearly all of the file are units of few tokens, or many tokens of one unit.
    const longest = JSON.stringify({
      model: { type: "BPE", vocab: { x: 0, ["y".repeat(5000)]: 1 }, merges: [] },
    });
    expect(scanned(longest, createReader)).toEqual(twin(longest));
    const others = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(0x4e00 + i));
    const shortest = JSON.stringify({
      model: { type: "BPE", vocab: Object.fromEntries(others.map((token, id) => [token, id])), merges: [] },
    });
    expect(scanned(shortest, createReader)).toEqual(twin(shortest));
  });

  it("leaves malformed UTF-8 to JSON.parse", () => {
    const bytes = new TextEncoder().encode(small.replace('"aa":', '"xyz": 6, "aa":'));
    const at = bytes.indexOf("x".charCodeAt(0));
    const put = (...token: number[]) => {
      const changed = bytes.slice();
      changed.set(token, at);
      return scan(changed, createReader);
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
        const found = scanned(text, createReader);
        if (found !== null) expect(found).toEqual(twin(text));
      }),
      { numRuns },
    );
  });
});

/** A token that its number names, of letters that take one to three bytes. */
const nameOf = (i: number): string =>
  Array.from(String(i), (digit) => 'ab"\\éĠñ▁語x'[Number(digit)]).join("") || "";

/** A file with this many tokens, each of which is made by merges of others; its changes are made to the object. */
function large(numTokens: number, change: (model: LargeModel) => void = () => {}): string {
  const vocab: [string, number][] = Array.from({ length: numTokens }, (_, i) => [nameOf(i), i]);
  const merges = vocab.flatMap(([, i]) =>
    i < 10 ? [] : [[nameOf(Math.floor(i / 10)), nameOf(i % 10)] as [string, string]],
  );
  const model = { vocab, merges };
  change(model);
  const tokens = model.vocab.map(([token, id]) => `${JSON.stringify(token)}: ${id}`).join(",\n      ");
  return `{"model": {"type": "BPE", "vocab": {\n      ${tokens}\n    }, "merges": ${JSON.stringify(model.merges, null, 2)}}}`;
}

interface LargeModel {
  vocab: [string, number][];
  merges: ([string, string] | string)[];
}

describe("the module's notes of characters that meet", () => {
  it("are those of its twin, whatever bytes tokens hold", () => {
    const token = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 9 }),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 5 }).chain((text) => {
        const bytes = new TextEncoder().encode(text);
        const bound = fc.nat(Math.min(bytes.length - 1, 3));
        return fc.tuple(bound, bound).map(([from, less]) => bytes.subarray(from, bytes.length - less));
      }),
    );
    fc.assert(
      fc.property(fc.uniqueArray(token.map(byteLevel), { minLength: 1, maxLength: 50 }), (tokens) => {
        const vocab = Object.fromEntries(tokens.map((each, id) => [each, id]));
        const bytes = new TextEncoder().encode(JSON.stringify({ model: { type: "BPE", vocab, merges: [] } }));
        const packed = scan(bytes, createBpeReader)?.packed.vocabulary.packed;
        // Names like "12" come first in an object, with ids that are not in order.
        if (packed !== undefined) expect(packed.noteMeetings?.()).toEqual(noteMeetings(packed));
      }),
    );
  });
});

/** Bytes in the byte alphabet; of no bytes the token of a zero. */
const byteLevel = (bytes: Uint8Array): string => byteLevelText(bytes, bytes.length) || "\u0100";

describe("what the module reads", () => {
  const numOf = (text: string) => {
    const strings = vi.spyOn(JsonCursor.prototype, "string");
    const found = scanned(text, createBpeReader);
    const numStrings = strings.mock.calls.length;
    strings.mockRestore();
    return { found, numStrings };
  };
  const expectSame = (text: string, maxStrings: number) => {
    const { found, numStrings } = numOf(text);
    expect(found).not.toBeNull();
    expect(found).toEqual(twin(text));
    expect(numStrings).toBeLessThan(maxStrings);
  };

  it("are nearly all entries of a usual file, in windows of any beginning", () => {
    for (const numTokens of [1000, 5000, 5003, 9999]) expectSame(large(numTokens), 12);
  });

  it("are merges that are written as one string", () => {
    const join = (model: LargeModel) => {
      model.merges = model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
    };
    expectSame(large(3000, join), 12);
  });

  it("are the entries around those that it leaves", () => {
    const change = ({ vocab, merges }: LargeModel) => {
      for (const [at, token] of [
        [20, "\n\t"],
        [21, "😀"],
        [700, "long ".repeat(150)],
        [701, "y".repeat(20_000)],
      ] as const)
        vocab.splice(at, 0, [token, 0]);
      for (const [i, entry] of vocab.entries()) entry[1] = i;
      vocab.push(["last", 5000], ["first", 9_000_000]);
      // Results that are neither the one before nor the one behind it.
      merges.splice(500, 0, [nameOf(90), nameOf(1)], [nameOf(12), nameOf(3)]);
      merges.splice(900, 0, [nameOf(11), nameOf(9)]);
    };
    expectSame(large(4000, change), 60);
  });

  it("is nothing where ids or tokens are equal, as without it", () => {
    const change = [
      ({ vocab }: LargeModel) => vocab.push([nameOf(77), 2000]),
      ({ vocab }: LargeModel) => vocab.push(["new", 77]),
      ({ vocab }: LargeModel) => vocab.push(["new", 2001], ["other", 2001]),
    ];
    for (const each of change) {
      expect(scanned(large(2000, each), createBpeReader)).toBeNull();
      expect(scanned(large(2000, each))).toBeNull();
    }
  });

  it("is nothing where a side of a merge or its result is no token", () => {
    for (const merge of [
      ["a", "?"],
      ["?", "a"],
      ["?", "?"],
      ["a", nameOf(1999)],
    ] as [string, string][]) {
      const text = large(2000, ({ merges }) => merges.splice(700, 0, merge));
      expect(scanned(text, createBpeReader)).toBeNull();
      expect(scanned(text)).toBeNull();
    }
  });

  it("is the same or nothing in damaged files", () => {
    const whole = large(150);
    const damage = fc.record({
      at: fc.nat(whole.length),
      cut: fc.nat(3),
      put: fc.oneof(fc.constantFrom(...'"\\{}[],: 0129.e\n\té😀'), fc.string({ maxLength: 2 })),
    });
    fc.assert(
      fc.property(damage, ({ at, cut, put }) => {
        const text = wellFormed(whole.slice(0, at) + put + whole.slice(at + cut));
        const found = scanned(text, createBpeReader);
        if (found !== null) expect(found).toEqual(twin(text));
      }),
      { numRuns: 500 },
    );
  });

  it("is compiled for large files, and replaced by its twin where that is forbidden", () => {
    const bytes = new TextEncoder().encode(large(20_000));
    expect(bytes.length).toBeGreaterThan(1 << 19);
    const module = vi.spyOn(WebAssembly, "Module");
    const expected = scanBpe(bytes);
    expect(module).toHaveReturned();
    module.mockImplementation(function forbidden() {
      throw new WebAssembly.CompileError("forbidden");
    });
    const found = scanBpe(bytes);
    module.mockRestore();
    expect(found?.rest).toBe(expected?.rest);
    expect(found?.packed.merges).toEqual(expected?.packed.merges);
    const { noteMeetings, ...packed } = expected?.packed.vocabulary.packed ?? {};
    expect(noteMeetings).toBeTypeOf("function");
    expect(found?.packed.vocabulary.packed).toEqual(packed);
    expect(found?.packed.vocabulary.slots).toEqual(expected?.packed.vocabulary.slots);
  });
});
