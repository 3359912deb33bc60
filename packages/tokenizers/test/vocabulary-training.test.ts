import { describe, expect, it } from "vitest";
import { fromTokenizerJson, trainBpe, trainUnigram, trainWordLevel, trainWordPiece } from "../src/index.js";
import { UnigramTraining } from "../src/training/unigram-trainer.js";
import { goldenBytes, goldenJson } from "./golden.js";

const lines = new TextDecoder().decode(goldenBytes("corpus.txt")).split("\n").slice(0, -1);

/** The golden tokenizer: its normalizer and pre-tokenizer are those of the training. */
function golden(name: string) {
  const { config } = fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`));
  const { normalizer, preTokenizer, model } = config;
  return { config, model, corpus: { normalizer, preTokenizer, separateSpecialTokens: false } };
}

/** Share of the tokens of `a` that `b` has too. */
function sharedPart(a: Iterable<readonly [string, number]>, b: Iterable<readonly [string, number]>): number {
  const known = new Set(Array.from(b, ([token]) => token));
  const tokens = Array.from(a, ([token]) => token);
  return tokens.filter((token) => known.has(token)).length / tokens.length;
}

describe("training gives the vocabularies of Hugging Face's trainers", () => {
  it("WordLevel: id for id", async () => {
    const { model, corpus } = golden("wordlevel");
    const specialTokens = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"];
    const trained = await trainWordLevel(lines, {
      ...corpus,
      vocabSize: 500,
      minFrequency: 2,
      specialTokens,
    });
    expect(trained).toEqual(model);
  });

  it("WordPiece: all but what ties decide", async () => {
    const { model, corpus } = golden("wordpiece");
    const trained = await trainWordPiece(lines, {
      ...corpus,
      vocabSize: 900,
      minFrequency: 2,
      limitAlphabet: 350,
      specialTokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    });
    if (model.type !== "WordPiece") throw new Error(model.type);
    expect(trained.vocab.length).toBe(900);
    // Seven characters at the limit of the alphabet, and what they are part of, differ.
    expect(sharedPart(model.vocab, trained.vocab)).toBeGreaterThan(0.97);
  });

  it("character BPE with an end-of-word suffix: the same tokens", async () => {
    const { model, corpus } = golden("bpe_char");
    const trained = await trainBpe(lines, {
      ...corpus,
      vocabSize: 1200,
      endOfWordSuffix: "</w>",
      specialTokens: ["<unk>", "<pad>"],
    });
    if (model.type !== "BPE") throw new Error(model.type);
    expect(trained.vocab.length).toBe(1200);
    expect(sharedPart(model.vocab, trained.vocab)).toBe(1);
  });

  it("Unigram: nearly the same pieces, scores to rounding", async () => {
    const { model, corpus } = golden("unigram");
    const trained = await trainUnigram(lines, {
      ...corpus,
      vocabSize: 900,
      unkToken: "<unk>",
      specialTokens: ["<pad>", "</s>", "<unk>"],
    });
    if (model.type !== "Unigram") throw new Error(model.type);
    expect(trained.vocab.length).toBe(model.vocab.length);
    // Eleven of the last pieces to be cut differ.
    expect(sharedPart(model.vocab, trained.vocab)).toBeGreaterThan(0.985);
    const scores = new Map(trained.vocab);
    // Characters that did not survive get made-up scores in an order of chance: they are at the end.
    for (const [i, [piece, score]] of model.vocab.entries()) {
      const ours = scores.get(piece);
      if (ours !== undefined) expect(ours).toBeCloseTo(score, i < model.vocab.length - 40 ? 9 : 2);
    }
    expect(trained.unkId).toBe(model.unkId);
  });
});

describe("trainUnigram", () => {
  const words = new Map([
    ["low", 50],
    ["lower", 20],
    ["lowest", 30],
    ["newer", 40],
    ["wider", 10],
  ]);

  it("raises the likelihood with each step of expectation maximisation", () => {
    const training = new UnigramTraining(words, { vocabSize: 14 });
    const likelihoods = Array.from({ length: 5 }, () => training.estimate());
    for (const [i, value] of likelihoods.slice(1).entries())
      expect(value).toBeGreaterThan(likelihoods[i] as number);
  });

  it("drops pieces until few enough are left, and characters never", async () => {
    const texts = Array.from(words, ([word, count]) => `${word} `.repeat(count));
    const model = await trainUnigram(texts, {
      vocabSize: 14,
      preTokenizer: { type: "WhitespaceSplit" },
      unkToken: "<unk>",
    });
    expect(model.vocab.length).toBeLessThanOrEqual(14);
    expect(model.vocab[0]).toEqual(["<unk>", 0]);
    expect(model.unkId).toBe(0);
    const pieces = model.vocab.map(([piece]) => piece);
    expect(pieces).toEqual(expect.arrayContaining([..."lowerstnid"]));
    expect(model.vocab.slice(1).every(([, score]) => score < 0)).toBe(true);
  });

  it("refuses a vocabulary without room for the characters", async () => {
    await expect(trainUnigram(["abc"], { vocabSize: 2 })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainUnigram: vocabSize must have room for special tokens and characters; got vocabSize 2, needed 3. Raise vocabSize.]`,
    );
  });

  it("stops on a signal", async () => {
    const signal = AbortSignal.abort(new Error("stopped"));
    await expect(trainUnigram(["abc"], { vocabSize: 20, signal })).rejects.toThrow("stopped");
  });
});

describe("unknown tokens", () => {
  it("must be special tokens", async () => {
    await expect(trainWordLevel(["a"], { vocabSize: 9 })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainWordLevel: unkToken must be one of specialTokens; got unkToken "[UNK]", specialTokens []. Add it there or name another one.]`,
    );
    await expect(
      trainWordPiece(["a"], { vocabSize: 9, unkToken: "<unk>", specialTokens: ["<pad>"] }),
    ).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainWordPiece: unkToken must be one of specialTokens; got unkToken "<unk>", specialTokens ["<pad>"]. Add it there or name another one.]`,
    );
  });
});
