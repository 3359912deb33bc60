import { describe, expect, it } from "vitest";
import { fromTokenizerJson, fromVocabJson, fromVocabTxt, loadTokenizer } from "../src/index.js";
import { goldenJson, goldenStrings } from "./golden.js";

interface GoldenModel {
  model: { vocab: Record<string, number>; merges: [string, string][] };
}

describe("fromVocabTxt", () => {
  const json = goldenJson<GoldenModel>("hf/wordpiece/tokenizer.json.gz");
  const byId = Object.entries(json.model.vocab).sort(([, a], [, b]) => a - b);
  const lines = `${byId.map(([token]) => token).join("\n")}\n`;

  it("encodes like the tokenizer.json of the same vocabulary", () => {
    const expected = fromTokenizerJson(json);
    const tokenizer = loadTokenizer({ "vocab.txt": lines });
    expect(tokenizer.vocabSize).toBe(900);
    expect([tokenizer.padId, tokenizer.unkId]).toEqual([0, 1]);
    for (const text of goldenStrings) {
      expect([text, tokenizer.encodeIds(text)]).toEqual([text, expected.encodeIds(text)]);
    }
    const { ids, typeIds } = tokenizer.encode("a b", { pair: "c" });
    expect([ids.length, [...typeIds]]).toEqual([6, [0, 0, 0, 0, 1, 1]]);
  });

  it("keeps capitals if told so", () => {
    const cased = loadTokenizer({ "vocab.txt": lines, "tokenizer_config.json": '{"do_lower_case": false}' });
    expect(cased.config.normalizer).toMatchObject({ lowercase: false });
  });

  it("refuses a vocabulary without its special tokens", () => {
    expect(() => fromVocabTxt("a\nb\n")).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromVocabTxt: a special token must be in the vocabulary; got "[UNK]", vocabulary of 2 tokens. Name the right tokens in the options or check the file.]`,
    );
  });
});

describe("fromVocabJson", () => {
  const json = goldenJson<GoldenModel>("hf/bpe_bytelevel/tokenizer.json.gz");
  const vocab = JSON.stringify(json.model.vocab);
  const merges = `#version: 0.2\n${json.model.merges.map((pair) => pair.join(" ")).join("\n")}\n`;

  it("encodes and decodes like the tokenizer.json of the same vocabulary", () => {
    const expected = fromTokenizerJson(json);
    const tokenizer = loadTokenizer({ "vocab.json": vocab, "merges.txt": merges });
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.isSpecial(0)]).toEqual([0, 0, true]);
    for (const text of goldenStrings.filter((each) => !each.includes("<|"))) {
      const ids = tokenizer.encodeIds(text);
      expect([text, ids]).toEqual([text, expected.encodeIds(text, { addSpecialTokens: false })]);
      expect(tokenizer.decode(ids)).toBe(expected.decode(ids));
    }
    expect([...tokenizer.encodeIds("<|endoftext|>")]).toEqual([0]);
  });

  it("refuses damaged files", () => {
    expect(() => fromVocabJson("{", merges)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromVocabJson: vocab.json must be JSON; got 1 characters that are not (Expected property name or '}' in JSON at position 1 (line 1 column 2)). Check the file for truncation.]`,
    );
    expect(() => fromVocabJson(vocab, "a b c")).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromVocabJson: model.merges[0] must be a pair of tokens; got "a b c". Correct the file.]`,
    );
    expect(() => fromVocabJson(vocab, merges, { specialTokens: ["<x>"] })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromVocabJson: a special token must be in the vocabulary; got "<x>", vocabulary of 700 tokens. Name the right tokens in the options or check the file.]`,
    );
  });
});
