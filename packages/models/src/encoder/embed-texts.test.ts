import { memorySource, readFile } from "@heddle/checkpoints";
import { cpu, reference, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { loadAnyModel } from "../loading/load-model.js";
import { embedTexts } from "./embed-texts.js";
import { pool, unitLength } from "./pooling.js";

/** A tokenizer of 72 ids: letters and a few signs, with BERT's frame around each text. */
const tokenizerJson = JSON.stringify({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Split", pattern: { Regex: "" }, behavior: "Isolated", invert: false },
  post_processor: {
    type: "TemplateProcessing",
    single: [
      { SpecialToken: { id: "[CLS]", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "[SEP]", type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
      "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
    },
  },
  decoder: null,
  model: {
    type: "WordLevel",
    vocab: Object.fromEntries(
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ..."abcdefghijklmnopqrstuvwxyz .,!"].map((token, id) => [
        token,
        id,
      ]),
    ),
    unk_token: "[UNK]",
  },
});

async function withTokenizer(name: string) {
  const source = packedSource(name);
  const files = await Promise.all(
    source.list().map(async (file) => [file, await readFile(source, file)] as const),
  );
  return memorySource({
    ...Object.fromEntries(files),
    "tokenizer.json": new TextEncoder().encode(tokenizerJson),
  });
}

const texts = ["a cat.", "the dog barks at the moon", "no", "a cat."];

describe.each(["bert", "deberta_v2", "t5"])("%s", (name) => {
  test("vectors do not depend on the texts beside them, and have length 1", async () => {
    const device = cpu({ threads: 1 });
    const model = await loadAnyModel(await withTokenizer(name), { device });
    for (const pooling of ["mean", "first", "last", "max"] as const) {
      const together = await embedTexts(model, texts, { pooling, batchSize: 3 });
      expect(together.length).toBe(4);
      for (const [at, text] of texts.entries()) {
        const [alone = new Float32Array(0)] = await embedTexts(model, [text], { pooling });
        expect(relativeError(together[at] ?? [], alone), `${pooling} ${text}`).toBeLessThan(1e-5);
        expect(Math.hypot(...alone)).toBeCloseTo(1, 5);
      }
      expect(relativeError(together[0] ?? [], together[1] ?? [])).toBeGreaterThan(0.01);
    }
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
});

test("the mean is that of the golden hidden states", async () => {
  const device = reference();
  const model = await loadAnyModel(await withTokenizer("bert"), { device });
  const golden = packedExpected("bert");
  const states = golden.get("basic.hidden_states").data.subarray(-12 * 32);
  const ids = rowsOf(golden, "basic.input_ids")[0] ?? [];
  expect(ids.length).toBe(12);
  using hidden = tensor(device, Float64Array.from(states), { shape: [1, 12, 32], dtype: "f64" });
  using mask = tensor(device, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], { shape: [1, 12], dtype: "bool" });
  const mean = Array.from(
    { length: 32 },
    (_, e) => [0, 1, 2, 3, 4].reduce((sum, t) => sum + (states[t * 32 + e] ?? 0), 0) / 5,
  );
  const expected = {
    mean,
    first: [...states.subarray(0, 32)],
    last: [...states.subarray(4 * 32, 5 * 32)],
    max: Array.from({ length: 32 }, (_, e) =>
      Math.max(...[0, 1, 2, 3, 4].map((t) => states[t * 32 + e] ?? 0)),
    ),
  };
  for (const [pooling, wanted] of Object.entries(expected)) {
    using vector = pool(hidden, pooling as keyof typeof expected, mask);
    expect(relativeError(await vector.data(), wanted)).toBeLessThan(1e-12);
    using unit = unitLength(vector);
    expect(Math.hypot(...(await unit.data()))).toBeCloseTo(1, 12);
  }
  model.dispose();
});

test("long texts keep their last token; what cannot be is said", async () => {
  const device = reference();
  const model = await loadAnyModel(await withTokenizer("bert"), { device });
  const [cut = []] = await embedTexts(model, ["a cat and a dog"], { maxTokens: 5 });
  const [whole = []] = await embedTexts(model, ["a c"]); // [CLS] a _ c [SEP]
  expect(relativeError(cut, whole)).toBeLessThan(1e-6);
  const bare = await loadAnyModel(packedSource("bert"), { device });
  await expect(embedTexts(bare, ["a"])).rejects.toThrow(/needs a tokenizer; got a bert model without one/);
  const mamba = await loadAnyModel(await withTokenizer("mamba"), { device });
  await expect(embedTexts(mamba, ["a"])).rejects.toThrow(
    /hidden states of text; got family "mamba" of architecture "recurrent"/,
  );
  for (const model_ of [model, bare, mamba]) model_.dispose();
  expect(device.memory().buffers).toBe(0);
});
