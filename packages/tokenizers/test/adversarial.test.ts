import { describe, expect, it } from "vitest";
import {
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "../src/index.js";
import { MergeTable } from "../src/models/merge-table.js";
import { PieceTrie } from "../src/piece-trie.js";
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

/** Counts the calls of a method while `work` runs. */
function countCalls<Method extends string>(
  owner: Record<Method, (...values: never[]) => unknown>,
  method: Method,
  work: () => void,
): number {
  const original = owner[method];
  let calls = 0;
  owner[method] = function counted(this: unknown, ...values: never[]) {
    calls++;
    return original.apply(this, values);
  };
  try {
    work();
  } finally {
    owner[method] = original;
  }
  return calls;
}

const letters = (n: number) =>
  Array.from({ length: n }, (_, i) => String.fromCharCode(97 + ((i * i * 7 + i * 3) % 26))).join("");
const hard: [string, (n: number) => string][] = [
  ["one word of letters", letters],
  ["one letter", (n) => "a".repeat(n)],
  ["one pair", (n) => "wa".repeat(n / 2)],
];

/** Steps are counted, so that a busy machine changes nothing: linear ones, as the heap adds the log n of a merge. */
describe("the steps of an algorithm grow with the length of a word, no faster", () => {
  const longest = 64;
  const cases: [string, Tokenizer, (work: () => void) => number, number][] = [
    ["bpe_bytelevel", load("bpe_bytelevel"), (work) => countCalls(MergeTable.prototype, "find", work), 4],
    [
      "bpe_byte_fallback",
      load("bpe_byte_fallback"),
      (work) => countCalls(MergeTable.prototype, "find", work),
      4,
    ],
    ["unigram", load("unigram"), (work) => countCalls(PieceTrie.prototype, "child", work), longest],
    ["wordpiece", load("wordpiece"), (work) => countCalls(PieceTrie.prototype, "child", work), longest],
  ];
  it.each(cases)("%s", (_name, tokenizer, count, perUnit) => {
    for (const [title, make] of hard) {
      for (const n of [4000, 8000, 16_000]) {
        const steps = count(() => tokenizer.encodeIds(make(n)));
        expect([title, n, steps <= perUnit * n + 1000]).toEqual([title, n, true]);
      }
    }
  });
});
