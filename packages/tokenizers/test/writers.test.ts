import { describe, expect, it } from "vitest";
import {
  createTokenizer,
  fromSentencePiece,
  fromTekken,
  fromTiktoken,
  fromTokenizerJson,
  fromVocabJson,
  fromVocabTxt,
  HeddleError,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
  toSentencePiece,
  toTekken,
  toTiktoken,
  toTokenizerJson,
  toVocabJson,
  toVocabTxt,
} from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

function expectSameIds(a: Tokenizer, b: Tokenizer): void {
  const options = { addSpecialTokens: false };
  for (const text of goldenStrings) {
    expect([text, [...a.encodeIds(text, options)]]).toEqual([text, [...b.encodeIds(text, options)]]);
  }
}

describe("toSentencePiece", () => {
  it.each([
    "bpe_identity_bf",
    "bpe_plain",
    "bpe_symbols",
    "char_identity",
    "unigram_identity_bf",
    "unigram_nmt_nfkc",
    "word_identity",
  ])("writes %s so that it reads the same", (name) => {
    const read = fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`));
    const written = toSentencePiece(read);
    expect(fromSentencePiece(written).config).toEqual(read.config);
    expect(toSentencePiece(fromSentencePiece(written))).toEqual(written);
  });
});

describe("toTiktoken and toTekken", () => {
  const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
  const tokenizer = fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.cl100k });

  it("write the very rank file that was read", () => {
    expect(toTiktoken(tokenizer).trimEnd()).toBe(ranks.trimEnd());
  });

  it("write tekken.json with special tokens in front", () => {
    const { config } = tokenizer;
    if (config.model.type !== "Tiktoken") throw new Error(config.model.type);
    const names = ["<unk>", "<s>", "</s>"];
    const plain = { singleWord: false, lstrip: false, rstrip: false, normalized: false, special: true };
    const shifted = createTokenizer({
      ...config,
      model: {
        type: "Tiktoken",
        vocab: config.model.vocab.map(([token, rank]) => [token, rank + 3] as const),
      },
      addedTokens: names.map((content, id) => ({ id, content, ...plain })),
    });
    const read = fromTekken(toTekken(shifted));
    expect(read.config.model).toEqual(shifted.config.model);
    expect(read.specialTokens).toEqual(names);
    expectSameIds(read, shifted);
    expect(toTekken(read)).toBe(toTekken(shifted));
  });

  it("has a twin in tokenizer.json", () => {
    expectSameIds(
      fromTokenizerJson(
        toTokenizerJson(fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.o200k, dialect: "oniguruma" })),
      ),
      fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.o200k }),
    );
  });
});

describe("toVocabTxt and toVocabJson", () => {
  it("write WordPiece as BERT does", () => {
    const tokenizer = fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"));
    const read = fromVocabTxt(toVocabTxt(tokenizer));
    expect(read.config.model).toEqual(tokenizer.config.model);
    expectSameIds(read, tokenizer);
  });

  it("write byte-level BPE as GPT-2 does", () => {
    const tokenizer = fromTokenizerJson(goldenJson("hf/bpe_bytelevel/tokenizer.json.gz"));
    const files = toVocabJson(tokenizer);
    const read = fromVocabJson(files["vocab.json"], files["merges.txt"], {
      specialTokens: tokenizer.specialTokens,
    });
    expect(read.config.model).toEqual(tokenizer.config.model);
    expectSameIds(read, tokenizer);
  });
});

describe("writers refuse other models by name", () => {
  const wordPiece = fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"));
  const messageOf = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (HeddleError.is(error)) return `${error.code}: ${error.message}`;
      throw error;
    }
    throw new Error("nothing was thrown");
  };

  it("", () => {
    expect(messageOf(() => toSentencePiece(wordPiece))).toMatchInlineSnapshot(
      `"unsupported: toSentencePiece: model, normalizer and decoder must be SentencePiece's; got model WordPiece, normalizer BertNormalizer, decoder WordPiece. Write it with toTokenizerJson."`,
    );
    expect(messageOf(() => toTiktoken(wordPiece))).toMatchInlineSnapshot(
      `"unsupported: toTiktoken: the model must be of type Tiktoken; got WordPiece. Write it with toTokenizerJson or toSentencePiece."`,
    );
    expect(messageOf(() => toVocabJson(wordPiece))).toMatchInlineSnapshot(
      `"unsupported: toVocabJson: the model must be of type BPE; got WordPiece. Write it with toTokenizerJson or toSentencePiece."`,
    );
    expect(
      messageOf(() => toVocabTxt(fromTokenizerJson(goldenJson("hf/bpe_plain/tokenizer.json.gz")))),
    ).toMatchInlineSnapshot(
      `"unsupported: toVocabTxt: the model must be of type WordPiece; got BPE. Write it with toTokenizerJson or toSentencePiece."`,
    );
  });
});

describe("a BPE model with dropout", () => {
  const json = goldenJson<{ model: object }>("hf/bpe_bytelevel/tokenizer.json.gz");
  const withDropout = (dropout: number | null) => ({ ...json, model: { ...json.model, dropout } });
  const text = "The quick brown fox jumps over the lazy dog.";

  it("draws segmentations that decode to the text, the same after each load", () => {
    const draws = () => {
      const tokenizer = fromTokenizerJson(withDropout(0.5));
      return Array.from({ length: 8 }, () => [...tokenizer.encodeIds(text)]);
    };
    const first = draws();
    expect(new Set(first.map(String)).size).toBeGreaterThan(3);
    expect(draws()).toEqual(first);
    const tokenizer = fromTokenizerJson(json);
    for (const ids of first) expect(tokenizer.decode(ids)).toBe(text);
  });

  it("cuts all at 1 and nothing at 0, and is written again", () => {
    const whole = fromTokenizerJson(json).encodeIds(text);
    expect([...fromTokenizerJson(withDropout(0)).encodeIds(text)]).toEqual([...whole]);
    expect(fromTokenizerJson(withDropout(1)).encodeIds(text).length).toBe(text.length);
    expect(toTokenizerJson(fromTokenizerJson(withDropout(0.25)))).toMatchObject({ model: { dropout: 0.25 } });
  });
});
