import { describe, expect, test } from "vitest";
import {
  fromGgufVocabulary,
  fromSentencePiece,
  fromTokenizerJson,
  HeddleError,
  type Tokenizer,
  toGgufVocabulary,
  trainByteLevelBpe,
} from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

/** A vocabulary written and read again gives the same ids, for every text. */
function expectSame(tokenizer: Tokenizer): void {
  const again = fromGgufVocabulary(toGgufVocabulary(tokenizer));
  const ids = (one: Tokenizer) => goldenStrings.map((text) => [...one.encodeIds(text)]);
  expect(ids(again)).toEqual(ids(tokenizer));
  expect([again.bosId, again.eosId, again.unkId]).toEqual([
    tokenizer.bosId,
    tokenizer.eosId,
    tokenizer.unkId,
  ]);
}

describe("toGgufVocabulary keeps the ids of", () => {
  test("byte-level BPE", async () => {
    const corpus = goldenStrings.slice(0, 100);
    expectSame(await trainByteLevelBpe(corpus, { vocabSize: 400, specialTokens: ["<|end|>"] }));
  });

  test("a SentencePiece model", () => {
    const tokenizer = fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"), {
      addBosToken: true,
      parseControlPieces: true,
    });
    expectSame(tokenizer);
    expect(toGgufVocabulary(tokenizer)).toMatchObject({ model: "llama", flags: { addBos: true } });
  });
});

test("names the split into words", () => {
  const split = (source: string) => ({
    type: "Split",
    pattern: { Regex: source },
    behavior: "Isolated",
    invert: false,
  });
  const json = (pattern: string) => ({
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        split(pattern),
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] },
  });
  const qwen =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  expect(toGgufVocabulary(fromTokenizerJson(json(qwen)))).toMatchObject({ model: "gpt2", pre: "qwen2" });
  const other = fromTokenizerJson(json("[xyz]+"));
  expect(() => toGgufVocabulary(other)).toThrow('got ["[xyz]+"]. Pass its name as `pre` if there is one.');
  expect(toGgufVocabulary(other, { pre: "qwen2" }).pre).toBe("qwen2");
});

test("refuses what GGUF cannot hold", () => {
  const wordPiece = fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"));
  expect(() => toGgufVocabulary(wordPiece)).toThrow(HeddleError);
});
