import { describe, expect, it } from "vitest";
import { fromTiktoken, TIKTOKEN_PATTERNS } from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

interface GoldenFile {
  pat_str: string;
  special_tokens: Record<string, number>;
  extra_inputs: string[];
  encodings: { ordinary: number[]; decoded: string; all_special?: number[] }[];
}

describe.each(["gpt2", "cl100k", "o200k"] as const)("tiktoken golden %s", (name) => {
  const golden = goldenJson<GoldenFile>(`tiktoken/${name}_pattern.json.gz`);
  const ranks = new TextDecoder().decode(goldenBytes(`tiktoken/${name}_pattern.tiktoken.gz`));
  const tokenizer = fromTiktoken(ranks, { pattern: golden.pat_str, specialTokens: golden.special_tokens });
  const inputs = [...goldenStrings, ...golden.extra_inputs];

  it("has the published pattern", () => {
    expect(TIKTOKEN_PATTERNS[name]).toBe(golden.pat_str);
  });

  it("gives the same ids with and without special tokens", () => {
    expect(golden.encodings.length).toBe(inputs.length);
    for (const [i, text] of inputs.entries()) {
      const { ordinary = [], all_special = ordinary } = golden.encodings[i] ?? {};
      const plain = tokenizer.encodeIds(text, { parseSpecialTokens: false });
      expect([text, [...plain]]).toEqual([text, ordinary]);
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, all_special]);
      expect([text, [...tokenizer.encode(text).ids]]).toEqual([text, all_special]);
    }
  });

  it("decodes the same", () => {
    for (const [i, text] of inputs.entries()) {
      const { ordinary = [], decoded } = golden.encodings[i] ?? {};
      expect([text, tokenizer.decode(ordinary)]).toEqual([text, decoded]);
    }
  });
});
