import { type FileSource, memorySink, memorySource, readFile, saveTensors } from "@heddle/checkpoints";
import { cpu, randn, reference, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { toyTokenizerJson } from "../../test/toy-tokenizer.js";
import { loadAnyModel } from "../loading/load-model.js";
import { embedTexts } from "./embed-texts.js";
import { pool, unitLength } from "./pooling.js";

async function withTokenizer(name: string, others: Readonly<Record<string, unknown>> = {}) {
  const source = packedSource(name);
  const files = await Promise.all(
    source.list().map(async (file) => [file, await readFile(source, file)] as const),
  );
  return memorySource({
    ...Object.fromEntries(files),
    "tokenizer.json": new TextEncoder().encode(toyTokenizerJson),
    ...Object.fromEntries(
      Object.entries(others).map(([file, json]) => [file, new TextEncoder().encode(JSON.stringify(json))]),
    ),
  });
}

/** The source with one more file. */
function withFile(source: FileSource, file: string, bytes: Uint8Array = new Uint8Array(0)): FileSource {
  const added = memorySource({ [file]: bytes });
  const of = (name: string) => (name === file ? added : source);
  return {
    list: () => [...source.list(), file],
    size: (name) => of(name).size(name),
    read: (name, start, end) => of(name).read(name, start, end),
  };
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
    "mean-sqrt": mean.map((value) => value * Math.sqrt(5)),
    "weighted-mean": Array.from(
      { length: 32 },
      (_, e) => [0, 1, 2, 3, 4].reduce((sum, t) => sum + (t + 1) * (states[t * 32 + e] ?? 0), 0) / 15,
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

describe("a directory of sentence-transformers", () => {
  const type = (name: string) => `sentence_transformers.models.${name}`;
  const modules = [
    { idx: 0, name: "0", path: "", type: type("Transformer") },
    { idx: 1, name: "1", path: "1_Pooling", type: type("Pooling") },
  ];
  const normalize = { idx: 2, name: "2", path: "2_Normalize", type: type("Normalize") };
  const open = async (files: Readonly<Record<string, unknown>>) => {
    const device = reference();
    return { device, model: await loadAnyModel(await withTokenizer("bert", files), { device }) };
  };

  test("says how its vectors are made; options go before it", async () => {
    const { device, model } = await open({
      "modules.json": modules,
      "1_Pooling/config.json": {
        word_embedding_dimension: 32,
        pooling_mode_cls_token: true,
        pooling_mode_mean_tokens: true,
        pooling_mode_max_tokens: false,
      },
      "sentence_bert_config.json": { max_seq_length: 6, do_lower_case: true },
      "config_sentence_transformers.json": { prompts: { query: "find " }, default_prompt_name: null },
    });
    expect(model.sentenceModules).toEqual({
      poolings: ["first", "mean"],
      isNormalized: false,
      maxTokens: 6,
      isLowercased: true,
      prompts: { query: "find " },
      dense: [],
      unknownModules: [],
    });
    const plain = { maxTokens: 6, isNormalized: false };
    const [first = []] = await embedTexts(model, ["a cat"], { ...plain, pooling: "first" });
    const [mean = []] = await embedTexts(model, ["a cat"], { ...plain, pooling: "mean" });
    const [both = []] = await embedTexts(model, ["  A Cat "]);
    expect(relativeError(both, [...first, ...mean])).toBeLessThan(1e-6);
    const [asked = []] = await embedTexts(model, ["a"], { prompt: "query", pooling: "first", maxTokens: 20 });
    const [written = []] = await embedTexts(model, ["find a"], { pooling: "first", maxTokens: 20 });
    expect(relativeError(asked, written)).toBeLessThan(1e-6);
    await expect(embedTexts(model, ["a"], { prompt: "answer" })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: embedTexts: prompt must be one of the model's; got "answer", the model has query. Write it into the texts.]`,
    );
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  });

  test("of the newer form, normalised", async () => {
    const { model } = await open({
      "modules.json": [...modules, normalize],
      "1_Pooling/config.json": { embedding_dimension: 32, pooling_mode: "lasttoken", include_prompt: true },
    });
    expect(model.sentenceModules).toMatchObject({ poolings: ["last"], isNormalized: true });
    const [vector = new Float32Array(0)] = await embedTexts(model, ["a cat"]);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 6);
    model.dispose();
  });

  test("with a linear layer behind the pooling, which is freed with the model", async () => {
    const device = reference();
    const weight = randn(device, [5, 32], { seed: 1, dtype: "f32" });
    const bias = randn(device, [5], { seed: 2, dtype: "f32" });
    const sink = memorySink();
    await saveTensors(sink, { "linear.weight": weight, "linear.bias": bias });
    const dense = { idx: 2, name: "2", path: "2_Dense", type: type("Dense") };
    const load = async (files: Readonly<Record<string, unknown>>) => {
      const source = await withTokenizer("bert", {
        "1_Pooling/config.json": { pooling_mode_mean_tokens: true },
        "2_Dense/config.json": {
          in_features: 32,
          out_features: 5,
          bias: true,
          activation_function: "torch.nn.modules.activation.Tanh",
        },
        ...files,
      });
      const weights = sink.files["model.safetensors"];
      return loadAnyModel(withFile(source, "2_Dense/model.safetensors", weights), { device });
    };
    const before = device.memory().buffers;
    const model = await load({ "modules.json": [...modules, dense, normalize] });
    const [vector = new Float32Array(0)] = await embedTexts(model, ["a cat"]);
    const [mean = []] = await embedTexts(model, ["a cat"], { pooling: "mean", isNormalized: false });
    const [w, b] = [await weight.data(), await bias.data()];
    const bent = Array.from(b, (shift, row) =>
      Math.tanh(Number(shift) + Array.from(mean).reduce((sum, x, e) => sum + x * Number(w[row * 32 + e]), 0)),
    );
    const length = Math.hypot(...bent);
    expect(
      relativeError(
        vector,
        bent.map((x) => x / length),
      ),
    ).toBeLessThan(1e-6);
    model.dispose();
    expect(device.memory().buffers).toBe(before);
    const broken = { idx: 3, name: "3", path: "3_Dense", type: type("Dense") };
    await expect(
      load({
        "modules.json": [...modules, dense, broken],
        "3_Dense/config.json": { activation_function: 1 },
      }),
    ).rejects.toThrow(/3_Dense\/config.json must describe an embedding/);
    expect(device.memory().buffers).toBe(before);
  });

  test("what it asks for and is not understood is an error, unless a pooling is named", async () => {
    const lstm = { idx: 2, name: "2", path: "2_LSTM", type: type("LSTM") };
    const { model } = await open({
      "modules.json": [...modules, lstm],
      "1_Pooling/config.json": { pooling_mode_mean_tokens: true },
    });
    await expect(embedTexts(model, ["a"])).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: embedTexts: modules.json must name Transformer, Pooling, Dense and Normalize only; got LSTM. Pass \`pooling\` for vectors without it.]`,
    );
    expect(await embedTexts(model, ["a"], { pooling: "mean" })).toHaveLength(1);
    model.dispose();
    await expect(
      open({ "modules.json": modules, "1_Pooling/config.json": { pooling_mode: "median" } }),
    ).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: loadModel: 1_Pooling/config.json must switch on a pooling of first, max, mean, mean-sqrt, weighted-mean, last; got median. Mend the file, or pass \`pooling\`.]`,
    );
    await expect(open({ "modules.json": {} })).rejects.toThrow(/modules.json must describe an embedding/);
  });
});
