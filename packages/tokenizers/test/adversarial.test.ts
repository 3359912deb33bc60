import { describe, expect, it } from "vitest";
import {
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

const MILLION = 1_000_000;
const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
const load = (name: string) => fromTokenizerJson(goldenJson(`hf/${name}/tokenizer.json.gz`));

const tokenizers: [string, Tokenizer][] = [
  ["bpe_bytelevel", load("bpe_bytelevel")],
  ["bpe_split_regex", load("bpe_split_regex")],
  ["bpe_byte_fallback", load("bpe_byte_fallback")],
  ["unigram", load("unigram")],
  ["wordpiece", load("wordpiece")],
  ["tiktoken", fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.cl100k })],
  ["SentencePiece BPE", fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"))],
  ["SentencePiece unigram", fromSentencePiece(goldenBytes("sentencepiece/unigram_nmt_nfkc.model.gz"))],
];

const texts: [string, string][] = [
  ["one letter, a million times", "a".repeat(MILLION)],
  ["one pair, half a million times", "wa".repeat(MILLION / 2)],
  ["a million spaces", " ".repeat(MILLION)],
  ["a million combining marks", `e${"\u0301".repeat(MILLION / 4)}`],
  ["a quarter of a million emoji", "😀".repeat(MILLION / 4)],
];

// A quadratic step would take minutes on any of these.
describe.each(tokenizers)("%s stays fast", (_name, tokenizer) => {
  it.each(texts)("on %s", (_title, text) => {
    const start = performance.now();
    const { ids } = tokenizer.encode(text);
    expect(tokenizer.countTokens(text)).toBe(ids.length);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});
