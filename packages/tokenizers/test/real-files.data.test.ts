import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fromSentencePiece, loadTokenizer, type Tokenizer, trainByteLevelBpe } from "../src/index.js";
import { llama2cEncode } from "./llama2c.js";

const data = (...path: string[]) => readFileSync(join(process.env.HEDDLE_DATA ?? "", ...path));
const text = (...path: string[]) => data(...path).toString("utf8");
const json = <Value>(...path: string[]) => JSON.parse(text(...path)) as Value;

function gpt2(): Tokenizer {
  const [vocab, merges] = [text("tokenizer", "gpt2", "vocab.json"), text("tokenizer", "gpt2", "merges.txt")];
  return loadTokenizer({ "vocab.json": vocab, "merges.txt": merges });
}

describe("stories260K's tokenizer.model", () => {
  const bytes = data("models", "stories260K", "tok512.model");
  const tokenizer = loadTokenizer({ "tokenizer.model": bytes });

  it("encodes stories like llama2.c", () => {
    const { model } = tokenizer.config;
    if (model.type !== "SentencePiece") throw new Error(model.type);
    const vocab = model.pieces.map(({ piece, score }) => [piece, score] as const);
    const stories = text("text", "tinystories", "cs336_sample.txt").split("<|endoftext|>");
    expect(stories.length).toBeGreaterThan(3);
    for (const story of [...stories.map((each) => each.trim()), "Zoë 😀 日本", "a\nb c"]) {
      expect([...tokenizer.encodeIds(story)]).toEqual([1, ...llama2cEncode(story, vocab)]);
    }
  });

  it("knows its special tokens and decodes what it encoded", () => {
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.vocabSize]).toEqual([1, 2, 512]);
    const story = "Once upon a time, there was a little girl named Lily.\nShe said, “hi” 😀.";
    const ids = tokenizer.encodeIds(story);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(story);
  });

  it("goes on behind a prompt without losing the space", () => {
    const ids = tokenizer.encodeIds("Once upon a time");
    const stream = tokenizer.streamDecoder({ after: ids.slice(0, 3) });
    const rest = [...ids.slice(3)].map((id) => stream.push(id)).join("") + stream.flush();
    expect(tokenizer.decode(ids.slice(0, 3), { skipSpecialTokens: true }) + rest).toBe("Once upon a time");
  });
});

describe("CS336's byte-pair training", () => {
  it("gives the reference merges and vocabulary", async () => {
    const folder = ["tokenizer", "bpe-train-cs336"];
    const trained = await trainByteLevelBpe([text(...folder, "corpus.en")], {
      vocabSize: 500,
      minFrequency: 1,
      specialTokens: ["<|endoftext|>"],
      ties: "bytes",
    });
    const { model } = trained.config;
    if (model.type !== "BPE") throw new Error(model.type);
    const merges = text(...folder, "train-bpe-reference-merges.txt")
      .trimEnd()
      .split("\n");
    const vocab = json<Record<string, number>>(...folder, "train-bpe-reference-vocab.json");
    expect(model.merges.map((pair) => pair.join(" "))).toEqual(merges);
    expect(model.vocab.map(([token]) => token).sort()).toEqual(Object.keys(vocab).sort());
  });
});

describe("GPT-2's vocabulary", () => {
  const tokenizer = gpt2();

  it("gives llama.cpp's vectors", () => {
    const folder = ["tokenizer", "llama.cpp-vocabs"];
    const inputs = text(...folder, "ggml-vocab-gpt-2.gguf.inp").split("\n__ggml_vocab_test__\n");
    const outputs = text(...folder, "ggml-vocab-gpt-2.gguf.out").split("\n");
    expect(inputs.length).toBeGreaterThan(40);
    for (const [i, input] of inputs.entries()) {
      const expected = (outputs[i] ?? "").trim().split(" ").filter(Boolean).map(Number);
      expect([input, [...tokenizer.encodeIds(input)]]).toEqual([input, expected]);
    }
  });

  it("decodes 187 languages, English, Chinese and code to themselves; offsets slice the text", () => {
    const texts = Object.values(json<Record<string, unknown>>("text", "udhr_187_languages.json")).map(String);
    texts.push(text("text", "tinyshakespeare.txt"), text("text", "zh", "lunyu.txt"));
    for (const each of texts) {
      const { ids, starts, ends } = tokenizer.encode(each);
      expect(tokenizer.decode(ids) === each).toBe(true);
      let reached = 0;
      for (let i = 0; i < ids.length; i++) {
        expect((starts[i] as number) <= reached).toBe(true);
        reached = ends[i] as number;
      }
      expect(reached).toBe(each.length);
    }
  });
});

describe("BERT's vocabulary", () => {
  const tokenizer = loadTokenizer({ "vocab.txt": text("tokenizer", "bert-base-uncased", "vocab.txt") });

  it("gives the published tokens and ids of the questions", () => {
    const folder = ["tokenizer", "bert-base-uncased"];
    const questions = json<{ original: string; wordpiece: string[] }[]>(...folder, "question_tokens.json");
    const ids = json<number[][]>(...folder, "tokenized_questions.json");
    expect(questions.length).toBeGreaterThan(1000);
    for (const [i, { original, wordpiece }] of questions.entries()) {
      const encoding = tokenizer.encode(original, { addSpecialTokens: false });
      expect([original, encoding.tokens, [...encoding.ids]]).toEqual([original, wordpiece, ids[i]]);
    }
  });
});

describe("other SentencePiece models", () => {
  it.each([
    ["mistral", "tokenizer.model.v3", 32768],
    ["sentencepiece", "test_model.model", 1000],
    ["sentencepiece", "test_ja_model.model", 8000],
  ])("%s/%s decodes what it encoded", (folder, name, size) => {
    const tokenizer = fromSentencePiece(data("tokenizer", folder, name));
    expect(tokenizer.vocabSize).toBe(size);
    for (const sample of ["I saw a girl with a telescope.", "吾輩は猫である。", "Hello world"]) {
      const ids = tokenizer.encodeIds(sample);
      const decoded = tokenizer.decode(ids);
      if (!ids.includes(tokenizer.unkId ?? -1)) expect(decoded).toBe(sample);
      expect(ids.length).toBeGreaterThan(1);
    }
  });
});

describe("Mistral's samples of conversations", () => {
  const folder = ["tokenizer", "mistral", "samples"];
  const tokenizer = fromSentencePiece(data("tokenizer", "mistral", "tokenizer.model.v3"), {
    parseControlPieces: true,
  });
  const { model } = tokenizer.config;
  if (model.type !== "SentencePiece") throw new Error(model.type);
  const controls = model.pieces.filter(({ kind }) => kind === "control").map(({ piece }) => piece);
  const control = new RegExp(
    `(${controls.map((piece) => piece.replaceAll(/[[\]/<>_]/g, "\\$&")).join("|")})`,
  );

  /** The samples show pieces (one shows plain spaces): the dummy prefix of each stretch, spaces and bytes are written out. */
  const asWritten = (shown: string): string =>
    shown
      .split(control)
      .map((part) =>
        part
          .replace(/^[\u2581 ]/, "")
          .replaceAll("\u2581", " ")
          .replaceAll("<0x0A>", "\n"),
      )
      .join("");

  const samples = readdirSync(join(process.env.HEDDLE_DATA ?? "", ...folder));
  it.each(samples.flatMap((sample) => ["v2", "v3"].map((version) => [sample, version] as const)))(
    "%s %s",
    (sample, version) => {
      const shown = text(...folder, sample, `text_${version}.txt`);
      const { tokens } = json<{ tokens: number[] }>(...folder, sample, `tokens_${version}.json`);
      expect([...tokenizer.encodeIds(asWritten(shown))]).toEqual(tokens);
    },
  );
});
