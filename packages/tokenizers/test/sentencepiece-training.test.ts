import { describe, expect, it } from "vitest";
import { fromSentencePiece, type TrainSentencePieceOptions, trainSentencePiece } from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

const lines = new TextDecoder().decode(goldenBytes("corpus.txt")).split("\n").slice(0, -1);

/** The trainings of the goldens: `index.json` beside them, in our words. They were made with one thread. */
const trainings: Record<string, TrainSentencePieceOptions> = {
  bpe_plain: { modelType: "bpe", vocabSize: 700, characterCoverage: 0.99 },
  bpe_identity_bf: {
    modelType: "bpe",
    vocabSize: 900,
    byteFallback: true,
    splitDigits: true,
    removeExtraWhitespaces: false,
    allowWhitespaceOnlyPieces: true,
    characterCoverage: 0.98,
  },
  bpe_symbols: {
    modelType: "bpe",
    vocabSize: 650,
    characterCoverage: 0.98,
    userDefinedSymbols: ["<sep>", "\u2581the", "日本", "::"],
    controlSymbols: ["<ctl>"],
    treatWhitespaceAsSuffix: true,
    splitByNumber: false,
    metaPieces: { pad: { piece: "<pad>", id: 3 } },
  },
  char_identity: { modelType: "char", vocabSize: 400, characterCoverage: 0.99 },
  word_identity: { modelType: "word", vocabSize: 400, characterCoverage: 0.98 },
  unigram_identity_bf: {
    modelType: "unigram",
    vocabSize: 900,
    byteFallback: true,
    splitDigits: true,
    removeExtraWhitespaces: false,
    characterCoverage: 0.98,
  },
  unigram_nmt_nfkc: { modelType: "unigram", vocabSize: 800, characterCoverage: 0.98 },
};

describe("training gives SentencePiece's models, piece for piece and score for score", () => {
  it.each(Object.entries(trainings))("%s", async (name, options) => {
    const golden = fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`));
    const { normalizer } = golden.config;
    if (normalizer?.type !== "SentencePiece") throw new Error("no normalizer");
    const { precompiledCharsmap } = normalizer;
    const trained = await trainSentencePiece(lines, {
      ...options,
      maxSentenceLength: 8192,
      numPartialSums: 1,
      precompiledCharsmap,
    });
    const { vocab } = goldenJson<{ vocab: [string, number][] }>(`sentencepiece/${name}.json.gz`);
    const { model } = trained.config;
    if (model.type !== "SentencePiece") throw new Error(model.type);
    expect(model.pieces.map(({ piece, score }) => [piece, score])).toEqual(vocab);
    expect(trained.config).toEqual(golden.config);
  });
});
