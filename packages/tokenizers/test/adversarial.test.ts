import { describe, expect, it } from "vitest";
import {
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

const LENGTH = 400_000;
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
  ["one letter", "a".repeat(LENGTH)],
  ["one pair", "wa".repeat(LENGTH / 2)],
  ["spaces", " ".repeat(LENGTH)],
  ["combining marks", `e${"\u0301".repeat(LENGTH / 4)}`],
  ["emoji", "😀".repeat(LENGTH / 4)],
];

// A quadratic step would take minutes on any of these.
describe.each(tokenizers)("%s stays fast", (_name, tokenizer) => {
  it.each(texts)("on 100,000 to 400,000 times %s", (_title, text) => {
    const start = performance.now();
    const { ids } = tokenizer.encode(text);
    expect(tokenizer.countTokens(text)).toBe(ids.length);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});
