import { describe, expect, it } from "vitest";
import {
  fromTokenizerJson,
  type TrainingProgress,
  toTokenizerJson,
  trainBpe,
  trainByteLevelBpe,
} from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

interface GoldenTokenizer {
  model: { vocab: Record<string, number>; merges: [string, string][] };
}

const lines = new TextDecoder().decode(goldenBytes("corpus.txt")).split("\n").slice(0, -1);
const golden = (name: string) => goldenJson<GoldenTokenizer>(`hf/${name}/tokenizer.json.gz`).model;
const llama3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

describe("training gives the merges of Hugging Face's BpeTrainer", () => {
  it("byte-level, GPT-2 pattern", async () => {
    const tokenizer = await trainByteLevelBpe(lines, {
      vocabSize: 700,
      minFrequency: 2,
      specialTokens: ["<|endoftext|>", "<|pad|>"],
      separateSpecialTokens: false,
    });
    const { merges, vocab } = golden("bpe_bytelevel");
    const { model } = tokenizer.config;
    if (model.type !== "BPE") throw new Error(model.type);
    expect(model.merges).toEqual(merges);
    expect(Object.fromEntries(model.vocab)).toEqual(vocab);
  });

  it("byte-level, Llama 3 pattern, from an async stream", async () => {
    async function* stream(): AsyncGenerator<string> {
      for (const line of lines) yield line;
    }
    const tokenizer = await trainByteLevelBpe(stream(), {
      vocabSize: 800,
      minFrequency: 1,
      specialTokens: ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
      separateSpecialTokens: false,
      pattern: llama3,
    });
    const { merges, vocab } = golden("bpe_split_regex");
    const { model } = tokenizer.config;
    if (model.type !== "BPE") throw new Error(model.type);
    expect(model.merges).toEqual(merges);
    expect(Object.fromEntries(model.vocab)).toEqual(vocab);
  });

  it("characters, Whitespace", async () => {
    const trained = await trainBpe(lines, {
      vocabSize: 900,
      specialTokens: ["<unk>", "<pad>"],
      separateSpecialTokens: false,
      preTokenizer: { type: "Whitespace" },
    });
    const { merges, vocab } = golden("bpe_plain");
    expect(trained.merges).toEqual(merges);
    expect(Object.fromEntries(trained.vocab)).toEqual(vocab);
  });

  it("characters, Metaspace", async () => {
    const trained = await trainBpe(lines, {
      vocabSize: 850,
      specialTokens: ["<unk>", "<s>", "</s>"],
      separateSpecialTokens: false,
      preTokenizer: { type: "Metaspace", replacement: "\u2581", prependScheme: "first", split: true },
    });
    const { merges, vocab } = golden("bpe_byte_fallback");
    expect(trained.merges).toEqual(merges);
    // The golden file has 256 byte tokens inserted behind the three special ones.
    const shifted = trained.vocab.map(([token, id]) => [token, id < 3 ? id : id + 256] as const);
    const withoutBytes = Object.entries(vocab).filter(([token]) => !/^<0x..>$/.test(token));
    expect(Object.fromEntries(shifted)).toEqual(Object.fromEntries(withoutBytes));
  });
});

describe("trainByteLevelBpe", () => {
  it("makes a tokenizer that survives being written and read", async () => {
    const trained = await trainByteLevelBpe(lines, { vocabSize: 600, specialTokens: ["<|endoftext|>"] });
    const loaded = fromTokenizerJson(JSON.stringify(toTokenizerJson(trained)));
    expect(loaded.config).toEqual(trained.config);
    for (const line of lines) {
      expect([...loaded.encodeIds(line)]).toEqual([...trained.encodeIds(line)]);
      expect(loaded.decode(loaded.encodeIds(line))).toBe(line);
    }
  });

  it("leaves special tokens in the corpus out of the words", async () => {
    const texts = Array.from({ length: 50 }, () => "ab<|end|>ab");
    const trained = await trainByteLevelBpe(texts, { vocabSize: 300, specialTokens: ["<|end|>"] });
    expect(trained.tokenToId("ab")).toBe(257);
    expect(trained.vocabSize).toBe(258);
    expect(trained.tokenToId("<|end|>")).toBe(0);
  });

  it("reports progress and stops on a signal", async () => {
    const seen: TrainingProgress[] = [];
    await trainByteLevelBpe(lines, { vocabSize: 300, onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toEqual({ phase: "merge", done: 300, total: 300 });
    const signal = AbortSignal.abort(new Error("stopped"));
    await expect(trainByteLevelBpe(lines, { vocabSize: 300, signal })).rejects.toThrow("stopped");
  });

  it("refuses a vocabulary without room for the bytes", async () => {
    await expect(trainByteLevelBpe(lines, { vocabSize: 100 })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainBpe: vocabSize must have room for special tokens and alphabet; got vocabSize 100, needed 256. Raise vocabSize.]`,
    );
  });
});
