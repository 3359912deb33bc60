import { describe, expect, it } from "vitest";
import * as bpe from "../src/bpe/index.js";
import { createTokenizer, loadTokenizer, type Tokenizer } from "../src/index.js";
import * as sentencepiece from "../src/sentencepiece/index.js";
import * as tiktoken from "../src/tiktoken/index.js";
import * as unigram from "../src/unigram/index.js";
import * as wordpiece from "../src/wordpiece/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

interface GoldenModel {
  model: { vocab: Record<string, number>; merges: [string, string][] };
}

const byId = (json: GoldenModel) => Object.entries(json.model.vocab).sort(([, a], [, b]) => a - b);
const bert = byId(goldenJson<GoldenModel>("hf/wordpiece/tokenizer.json.gz"));
const gpt2 = goldenJson<GoldenModel>("hf/bpe_bytelevel/tokenizer.json.gz").model;
const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
const { cl100k } = tiktoken.TIKTOKEN_PATTERNS;

const doors: [string, Tokenizer][] = [
  [
    "bpe",
    bpe.fromVocabJson(JSON.stringify(gpt2.vocab), gpt2.merges.map((pair) => pair.join(" ")).join("\n"), {
      addPrefixSpace: true,
    }),
  ],
  ["sentencepiece", sentencepiece.fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"))],
  ["tiktoken", tiktoken.fromTiktoken(ranks, { pattern: cl100k, specialTokens: { "<|end|>": 700 } })],
  [
    "unigram",
    unigram.fromSentencePiece(goldenBytes("sentencepiece/unigram_nmt_nfkc.model.gz"), { addEosToken: true }),
  ],
  ["wordpiece", wordpiece.fromVocabTxt(bert.map(([token]) => token).join("\n"))],
];

describe.each(doors)("@heddle/tokenizers/%s", (_name, tokenizer) => {
  const whole = createTokenizer(tokenizer.config);

  it("makes the tokenizer that createTokenizer makes of the same parts", () => {
    for (const text of [...goldenStrings, "a<|end|>b"]) {
      const got = tokenizer.encode(text, { pair: "b c" });
      const expected = whole.encode(text, { pair: "b c" });
      expect([text, got.ids, got.offsets, got.typeIds]).toEqual([
        text,
        expected.ids,
        expected.offsets,
        expected.typeIds,
      ]);
      const ids = tokenizer.encodeIds(text);
      expect([text, ids, tokenizer.countTokens(text)]).toEqual([text, whole.encodeIds(text), ids.length]);
      expect([text, tokenizer.decode(ids)]).toEqual([text, whole.decode(ids)]);
    }
  });

  it("decodes a list as its stream does", () => {
    const random = Array.from(
      { length: 4000 },
      (_, i) => (i * 7919 + ((i * i) % 613)) % (tokenizer.vocabSize - 2),
    );
    for (let at = 0; at < random.length; at += 20) {
      const ids = random.slice(at, at + 20);
      const stream = tokenizer.streamDecoder();
      const streamed = ids.map((id) => stream.push(id)).join("") + stream.flush();
      expect([ids, tokenizer.decode(ids)]).toEqual([ids, streamed]);
    }
  });
});

describe("what a door does not bring", () => {
  it("is refused with the place where it is", () => {
    expect(() => tiktoken.fromTiktoken(ranks, { pattern: "\\w+" })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromTiktoken: @heddle/tokenizers/tiktoken knows the patterns gpt2, cl100k and o200k; got "\\\\w+". Import fromTiktoken from @heddle/tokenizers, which reads any pattern.]`,
    );
    expect(() =>
      unigram.fromSentencePiece(goldenBytes("sentencepiece/bpe_plain.model.gz")),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromSentencePiece: @heddle/tokenizers/unigram reads unigram models; got algorithm "bpe". Import fromSentencePiece from @heddle/tokenizers/sentencepiece.]`,
    );
  });
});

it("loads the same through the main door", () => {
  const text = "The cat sat, 1234 times.";
  const main = loadTokenizer({ "vocab.txt": bert.map(([token]) => token).join("\n") });
  const [, door] = doors[4] as [string, Tokenizer];
  expect(main.encodeIds(text)).toEqual(door.encodeIds(text));
});
