import { describe, expect, it } from "vitest";
import { type Normalizer, normalizeText, type PreTokenizer, preTokenizeText } from "../src/index.js";
import { goldenJson, goldenStrings, toUtf16 } from "./golden.js";

interface Parts {
  normalizers: Record<string, string[]>;
  pre_tokenizers: Record<string, [string, [number, number]][][]>;
  pre_tokenizer_inputs: string[];
}

const parts = goldenJson<Parts>("hf/parts.json.gz");
const bert = {
  type: "BertNormalizer",
  cleanText: true,
  handleChineseChars: true,
  stripAccents: null,
} as const;

const normalizers: Record<string, Normalizer> = {
  NFC: { type: "NFC" },
  NFD: { type: "NFD" },
  NFKC: { type: "NFKC" },
  NFKD: { type: "NFKD" },
  Lowercase: { type: "Lowercase" },
  Strip: { type: "Strip", stripLeft: true, stripRight: true },
  StripAccents_after_NFD: { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] },
  Nmt: { type: "Nmt" },
  Bert: { ...bert, lowercase: true },
  Bert_cased: { ...bert, lowercase: false },
};

const spaces = (
  behavior: "Removed" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous",
): PreTokenizer => ({
  type: "Split",
  pattern: { type: "String", text: " " },
  behavior,
  invert: false,
});

const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const preTokenizers: Record<string, PreTokenizer> = {
  Whitespace: { type: "Whitespace" },
  WhitespaceSplit: { type: "WhitespaceSplit" },
  Bert: { type: "BertPreTokenizer" },
  ByteLevel: { type: "ByteLevel", addPrefixSpace: false, useRegex: true, trimOffsets: true },
  Metaspace: { type: "Metaspace", replacement: "\u2581", prependScheme: "always", split: true },
  Punctuation: { type: "Punctuation", behavior: "Isolated" },
  Digits_individual: { type: "Digits", individualDigits: true },
  UnicodeScripts: { type: "UnicodeScripts" },
  GPT2_split: {
    type: "Split",
    pattern: { type: "Regex", source: gpt2 },
    behavior: "Isolated",
    invert: false,
  },
  Split_removed: spaces("Removed"),
  Split_merged_with_previous: spaces("MergedWithPrevious"),
  Split_merged_with_next: spaces("MergedWithNext"),
  Split_contiguous: spaces("Contiguous"),
};

describe.each(Object.keys(parts.normalizers))("normalizer golden %s", (name) => {
  it("gives the same text", () => {
    const normalizer = normalizers[name];
    if (normalizer === undefined) throw new Error(`no normalizer for ${name}`);
    const expected = parts.normalizers[name] as string[];
    expect(expected.length).toBe(goldenStrings.length);
    expect(goldenStrings.map((text) => normalizeText(normalizer, text))).toEqual(expected);
  });
});

describe.each(Object.keys(parts.pre_tokenizers))("pre-tokenizer golden %s", (name) => {
  it("gives the same words at the same places", () => {
    const preTokenizer = preTokenizers[name];
    if (preTokenizer === undefined) throw new Error(`no pre-tokenizer for ${name}`);
    for (const [i, text] of parts.pre_tokenizer_inputs.entries()) {
      const expected = parts.pre_tokenizers[name]?.[i] ?? [];
      const offsets = toUtf16(
        text,
        expected.map(([, range]) => range),
      );
      const words = preTokenizeText(preTokenizer, text).map((word) => [word.text, word.offsets]);
      expect([text, words]).toEqual([text, expected.map(([word], k) => [word, offsets[k]])]);
    }
  });
});
