import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fromSentencePiece, toSentencePiece, trainSentencePiece } from "../src/index.js";
import { goldenBytes, goldenStrings } from "./golden.js";

type Answers = { readonly ids: number[]; readonly decoded: string }[];

/** What the SentencePiece library itself says of model files. */
function askSentencePiece(models: readonly Uint8Array[], texts: readonly string[]): Answers[] {
  const folder = mkdtempSync(join(tmpdir(), "heddle-sentencepiece-"));
  try {
    const paths = models.map((bytes, i) => {
      const path = join(folder, `${i}.model`);
      writeFileSync(path, bytes);
      return path;
    });
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [join(import.meta.dirname, "sentencepiece-js-process.mjs")],
      { input: JSON.stringify({ models: paths, texts }), encoding: "utf8", maxBuffer: 2 ** 28 },
    );
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as Answers[];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const names = [
  "bpe_identity_bf",
  "bpe_plain",
  "bpe_symbols",
  "char_identity",
  "unigram_identity_bf",
  "unigram_nmt_nfkc",
  "word_identity",
];
const lines = new TextDecoder().decode(goldenBytes("corpus.txt")).split("\n").slice(0, -1);
const texts = [...goldenStrings, ...lines.slice(0, 200)].filter((text) => !/\p{Surrogate}/u.test(text));

describe("the SentencePiece library", () => {
  it("reads the files that we write, and cuts texts as we do", () => {
    const written = names.map((name) =>
      toSentencePiece(fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`))),
    );
    for (const [i, answers] of askSentencePiece(written, texts).entries()) {
      const tokenizer = fromSentencePiece(written[i] as Uint8Array);
      for (const [k, { ids }] of answers.entries()) {
        const text = texts[k] as string;
        expect([names[i], text, [...tokenizer.encodeIds(text)]]).toEqual([names[i], text, ids]);
      }
    }
  });

  it("runs the models that we train", async () => {
    const trained = await Promise.all(
      (["bpe", "unigram", "word", "char"] as const).map((modelType) =>
        trainSentencePiece(lines, {
          modelType,
          vocabSize: 600,
          characterCoverage: 0.98,
          byteFallback: modelType === "bpe",
        }),
      ),
    );
    const answers = askSentencePiece(trained.map(toSentencePiece), texts);
    for (const [i, tokenizer] of trained.entries()) {
      for (const [k, { ids, decoded }] of (answers[i] as Answers).entries()) {
        const text = texts[k] as string;
        expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, ids]);
        expect([text, tokenizer.decode(ids)]).toEqual([text, decoded]);
      }
    }
  });
});
