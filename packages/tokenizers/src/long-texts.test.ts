import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Encoding } from "./encoding.js";
import { fromTiktoken, TIKTOKEN_PATTERNS } from "./index.js";

/** Bytes, and powers of "a" up to eight letters. */
const tokens = [
  ...Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)),
  ...[2, 4, 8].map((n) => Buffer.alloc(n, "a")),
];
const ranks = tokens.map((token, id) => `${token.toString("base64")} ${id}`).join("\n");
const tokenizer = fromTiktoken(ranks, {
  pattern: TIKTOKEN_PATTERNS.cl100k,
  specialTokens: { "<|end|>": 300 },
});

const sparse = " aaaaaaaa".repeat(20_000);
const dense = " zyxw".repeat(40_000);

/** Checks that the tokens stand end to end over the whole text, each where its bytes are. */
function expectTokensOf(text: string, { ids, starts, ends }: Encoding): void {
  expect(ids).toEqual(tokenizer.encodeIds(text));
  expect([starts[0], ends.at(-1)]).toEqual([0, text.length]);
  expect(starts.subarray(1)).toEqual(ends.subarray(0, -1));
  const wrong = ids.findIndex((id, i) => tokens[id]?.toString() !== text.slice(starts[i], ends[i]));
  expect(wrong).toBe(-1);
}

/** What lies in the memory of an array behind its last value. */
const behind = (values: Int32Array): Int32Array =>
  new Int32Array(values.buffer, values.byteOffset + values.byteLength);

describe("texts of several windows", () => {
  it.each([
    ["as dense everywhere", sparse],
    ["dense at first", dense + sparse],
    ["dense in the end", sparse + dense],
    ["of two windows", dense.slice(0, 40_000)],
  ])("%s", (_, text) => {
    expectTokensOf(text, tokenizer.encode(text));
  });

  it("an encoding keeps its tokens when the next text is read", () => {
    const texts = [dense.slice(0, 100_000), sparse, dense, "aaa zyxw"];
    const encodings = texts.map((text) => tokenizer.encode(text));
    for (const [i, text] of texts.entries()) expectTokensOf(text, encodings[i] as Encoding);
  });

  it("so does each text of a pair", () => {
    const { ids, starts, sequenceIds } = tokenizer.encode(dense, { pair: sparse });
    const numFirst = sequenceIds.indexOf(1);
    expect(ids.subarray(0, numFirst)).toEqual(tokenizer.encodeIds(dense));
    expect(ids.subarray(numFirst)).toEqual(tokenizer.encodeIds(sparse));
    expect(starts[numFirst]).toBe(0);
  });

  it("arrays have little room to spare, which is cleared, and travel to workers one by one", () => {
    const dirty = vi
      .spyOn(Buffer, "allocUnsafeSlow")
      .mockImplementation((size) => Buffer.alloc(size, 0xff) as ReturnType<typeof Buffer.allocUnsafeSlow>);
    onTestFinished(() => dirty.mockRestore());
    let numSpare = 0;
    for (const text of [sparse, dense, dense + sparse, sparse + dense, "aaa"]) {
      const { ids, starts, ends } = tokenizer.encode(text);
      for (const values of [ids, starts, ends]) {
        const spare = behind(values);
        numSpare += spare.length;
        expect(spare.length).toBeLessThanOrEqual(values.length * 0.07);
        expect(spare.every((value) => value === 0)).toBe(true);
      }
      const moved = structuredClone(starts, { transfer: [starts.buffer as ArrayBuffer] });
      expect([starts.length, moved.length, ends.length]).toEqual([0, ids.length, ids.length]);
    }
    expect(numSpare).toBeGreaterThan(0);
    expect(dirty).toHaveBeenCalled();
  });

  it("special tokens at the beginning say nothing of the density of the rest", () => {
    const text = `${"<|end|>".repeat(9)}${dense}`;
    const { ids, ends } = tokenizer.encode(text);
    expect(ids).toEqual(tokenizer.encodeIds(text));
    expect(ends.at(-1)).toBe(text.length);
  });
});
