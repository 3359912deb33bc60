import { memorySink, memorySource, saveTensors } from "@heddle/checkpoints";
import {
  disposeTree,
  flattenTree,
  HeddleError,
  type LinearWeight,
  reference,
  Tensor,
  zeros,
} from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { goldenConfig, goldenNames, goldenSource } from "../../test/golden-model.js";
import { showsOf } from "../../test/shows.js";
import { initWeights } from "./init-weights.js";
import { createModel, loadModel } from "./load-model.js";
import { parseConfig } from "./parse-config.js";
import { saveModel } from "./save-model.js";

async function valuesOf(tree: unknown): Promise<Record<string, number[]>> {
  const { leaves, paths } = flattenTree(tree);
  const entries = leaves.map(async (leaf, at): Promise<[string, number[]]> => {
    return [paths[at] ?? "", leaf instanceof Tensor ? Array.from(await leaf.data()) : []];
  });
  return Object.fromEntries(await Promise.all(entries));
}

describe.each(goldenNames)("%s", (name) => {
  test("a model saved is the model loaded, also in shards", showsOf(name, "load, save"), async () => {
    const device = reference();
    const model = await loadModel(goldenSource(name), { device, dtype: "stored" });
    for (const maxShardBytes of [undefined, 20_000]) {
      const sink = memorySink();
      await saveModel(sink, model, { maxShardBytes });
      const again = await loadModel(memorySource(sink.files), { device, dtype: "stored" });
      expect(again.config).toEqual(model.config);
      expect(await valuesOf(again.weights)).toEqual(await valuesOf(model.weights));
      again.dispose();
    }
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  });

  test("the weight file is the one that Hugging Face wrote, byte for byte", async () => {
    const source = goldenSource(name);
    if (!source.list().includes("model.safetensors")) return;
    const device = reference();
    const model = await loadModel(source, { device, dtype: "stored" });
    const sink = memorySink();
    await saveModel(sink, model);
    const file = "model.safetensors";
    const original = await source.read(file, 0, await source.size(file));
    expect(Buffer.from(sink.files[file] ?? []).equals(Buffer.from(original))).toBe(true);
  });
});

describe("fresh weights", () => {
  const config = parseConfig(goldenConfig("llama"));

  test("have the deviation that is asked for, smaller where they add to the residual stream", async () => {
    const device = reference();
    const wide = { ...config, modelDim: 128, ffnDim: 256, initializerRange: 0.05 };
    const weights = initWeights(wide, device, { seed: 7 });
    const values = await valuesOf(weights);
    const deviation = (xs: number[] = []) => Math.sqrt(xs.reduce((sum, x) => sum + x * x, 0) / xs.length);
    expect(deviation(values.embedding)).toBeCloseTo(0.05, 2);
    expect(deviation(values["layers.0.mlp.up.weight"]) / 0.05).toBeCloseTo(1, 1);
    expect((deviation(values["layers.1.mlp.down.weight"]) / 0.05) * 2).toBeCloseTo(1, 1);
    expect((deviation(values["layers.1.attention.output.weight"]) / 0.05) * 2).toBeCloseTo(1, 1);
    expect(values["layers.0.mlpNorm.weight"]?.every((x) => x === 1)).toBe(true);
    expect(values["layers.0.attention.query.weight"]).not.toEqual(values["layers.1.attention.query.weight"]);
    disposeTree(weights);
    expect(device.memory().buffers).toBe(0);
  });

  test("depend on the seed alone", async () => {
    const first = await valuesOf(initWeights(config, reference(), { seed: 1 }));
    expect(await valuesOf(initWeights(config, reference(), { seed: 1 }))).toEqual(first);
    expect(await valuesOf(initWeights(config, reference(), { seed: 2 }))).not.toEqual(first);
  });

  test("GPT-2's biases begin at zero", async () => {
    const weights = initWeights(parseConfig(goldenConfig("gpt2")), reference(), { seed: 1 });
    const values = await valuesOf(weights);
    const biases = Object.entries(values).filter(([path]) => path.endsWith(".bias"));
    expect(biases.length).toBe(2 * 8 + 1);
    expect(biases.every(([, xs]) => xs.every((x) => x === 0))).toBe(true);
  });
});

test("weights that are not dense, or of another configuration, are not saved", async () => {
  const device = reference();
  const config = parseConfig(goldenConfig("llama"));
  const weights = initWeights(config, device, { seed: 1 });
  class Halved implements LinearWeight {
    readonly inFeatures = 32;
    readonly outFeatures = 72;
    apply(x: Tensor): Tensor {
      return x;
    }
  }
  const messageOf = (promise: Promise<void>) => promise.then(String, (error: Error) => error.message);
  const sink = memorySink();
  const messages = [
    await messageOf(saveModel(sink, { config, weights: { ...weights, unembedding: new Halved() } })),
    await messageOf(saveModel(sink, { config: { ...config, vocabSize: 80 }, weights })),
  ];
  expect(messages).toMatchInlineSnapshot(`
    [
      "saveModel: every weight must be a dense Tensor; got another kind at "unembedding". Merge or dequantise it first.",
      "saveModel: the weights must fit the configuration; got [72, 32] for "embedding" (model.embed_tokens.weight), expected [80, 32]. Pass the configuration that they were made with.",
    ]
  `);
  expect(Object.keys(sink.files)).toEqual([]);
});

test("a directory that does not hold a whole model loads nothing", async () => {
  const device = reference();
  const model = createModel({
    device,
    config: parseConfig(goldenConfig("llama")),
    weights: initWeights(parseConfig(goldenConfig("llama")), device, { seed: 1 }),
  });
  const sink = memorySink();
  await saveModel(sink, model);
  model.dispose();
  const { "config.json": json = new Uint8Array(), "model.safetensors": file = new Uint8Array() } = sink.files;
  const load = (files: Record<string, Uint8Array>) =>
    loadModel(memorySource(files), { device }).then(String, (error: unknown) =>
      HeddleError.is(error) ? `${error.code} ${error.message}` : error,
    );
  const alone = memorySink();
  await saveTensors(alone, { x: zeros(device, [1]) });
  const results = [
    await load({ "model.safetensors": file }),
    await load({ "config.json": json }),
    await load({ "config.json": json, "model.safetensors": file.slice(0, 30_000) }),
    String(await load({ "config.json": json, ...alone.files })).slice(0, 130),
  ];
  expect(results).toMatchInlineSnapshot(`
    [
      "format FileSource: the file must exist; got "config.json", there is model.safetensors. Check the folder and the name.",
      "format FileSource: the file must exist; got "model.safetensors", there is config.json. Check the folder and the name.",
      "format safetensors: a tensor must lie inside its file; got file "model.safetensors", tensor "model.embed_tokens.weight", byte 30000, tensor bytes 20552 to 38984, file of 30000 bytes. The file is damaged or not a safetensors file: copy it again.",
      "format loadModel: the checkpoint must hold the tensors that config.json calls for; got 22 that differ: missing model.embed_tokens.",
    ]
  `);
  expect(device.memory().buffers).toBe(1); // the lone x
});
