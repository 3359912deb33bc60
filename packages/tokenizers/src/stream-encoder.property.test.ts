import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenBytes, goldenJson } from "../test/golden.js";
import {
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "./index.js";

const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
const huggingFace = (name: string) => fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`));
const tiktoken = (pattern: string) => fromTiktoken(ranks, { pattern, specialTokens: { "<|end|>": 100_000 } });

const tokenizers: [string, Tokenizer][] = [
  ["GPT-2's pattern", huggingFace("bpe_bytelevel")],
  ["another pattern", huggingFace("bpe_split_regex")],
  ["cl100k", tiktoken(TIKTOKEN_PATTERNS.cl100k)],
  ["o200k", tiktoken(TIKTOKEN_PATTERNS.o200k)],
  ["byte fallback", huggingFace("bpe_byte_fallback")],
  ["WordPiece with its frame", huggingFace("wordpiece")],
  ["SentencePiece", fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"))],
];
const pieces = [..."aB1é中.'\u0301 \n\t"].concat(
  "the ",
  "  ",
  "\r\n",
  "<|end|>",
  "<|en",
  "d|>",
  "\ud83d",
  "\ude00",
  "'s",
  "x y",
);
const parts = fc.array(
  fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((all) => all.join("")),
  { maxLength: 8 },
);

describe.each(tokenizers)("encoding in parts: %s", (_name, tokenizer) => {
  it("gives the ids of the whole text", () => {
    fc.assert(
      fc.property(parts, fc.boolean(), (texts, addSpecialTokens) => {
        const stream = tokenizer.streamEncoder({ addSpecialTokens });
        const ids = [...texts.map((text) => stream.push(text)), stream.flush()].flatMap((part) => [...part]);
        expect(ids).toEqual([...tokenizer.encodeIds(texts.join(""), { addSpecialTokens })]);
      }),
      { numRuns: 400 },
    );
  });
});

it("ids come before the end where words are known to end", () => {
  const stream = tiktoken(TIKTOKEN_PATTERNS.cl100k).streamEncoder();
  expect(stream.push("the cat sat").length).toBeGreaterThan(0);
  const other = huggingFace("bpe_byte_fallback").streamEncoder();
  expect(other.push("the cat sat").length).toBe(0);
});
