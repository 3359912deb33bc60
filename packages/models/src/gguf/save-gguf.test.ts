import { memorySink, memorySource, openGguf } from "@heddle/checkpoints";
import { QuantTensor } from "@heddle/quant";
import { cpu, type Device, reference, Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { everyConfig } from "../../test/every-golden.js";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { relativeError } from "../../test/relative-error.js";
import { shows, showsOf } from "../../test/shows.js";
import { batchInputs } from "../decoder/batch-inputs.js";
import { generate } from "../generation/generate.js";
import { initWeights } from "../loading/init-weights.js";
import { createModel, loadModel } from "../loading/load-model.js";
import { configToJson, parseConfig } from "../loading/parse-config.js";
import { loadGguf } from "./load-gguf.js";
import { type SaveGgufOptions, saveGguf } from "./save-gguf.js";

/** Writes a golden model as GGUF and loads it again. */
async function throughGguf(name: string, device: Device, options: SaveGgufOptions = {}) {
  const model = await loadModel(goldenSource(name), { device });
  const sink = memorySink();
  await saveGguf(sink, "model.gguf", model, options);
  model.dispose();
  return { model: await loadGguf(memorySource(sink.files), "model.gguf", { device }), files: sink.files };
}

const ropes = ["linear", "yarn", "llama3", "longrope"].map((name) => `llama_rope_${name}`);
const goldens = ["llama", ...ropes, "qwen2", "qwen3", "gemma", "phi3", "gpt2"];

describe.each(goldens)("%s, written as F32 and loaded again,", (name) => {
  test("gives Hugging Face's logits", showsOf(name, "GGUF"), async () => {
    const device = reference();
    const golden = await goldenExpected(name);
    const { model } = await throughGguf(name, device, { type: "F32" });
    const inputs = batchInputs(model, rowsOf(golden["basic.input_ids"]));
    const logits = model.forward(inputs);
    expect(relativeError(await logits.data(), golden["basic.logits"]?.data ?? [])).toBeLessThan(1e-6);
    inputs.dispose();
    logits.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  });
});

describe("quantised files", () => {
  const config = parseConfig({
    model_type: "llama",
    vocab_size: 64,
    hidden_size: 256,
    intermediate_size: 256,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  });

  test.each([
    ["F16", 0.001],
    // Activations are rounded to eight bits, too, where weights are quantised.
    ["Q8_0", 0.02],
    ["Q6_K", 0.04],
    ["Q4_0", 0.2],
    ["Q4_K", 0.2],
  ] as const)("%s keeps the model near, and its matrices quantised", async (type, tolerance) => {
    const device = cpu({ threads: 1 });
    const model = createModel({ config, device, weights: initWeights(config, device, { seed: 3 }) });
    const sink = memorySink();
    await saveGguf(sink, "m.gguf", model, { type });
    const again = await loadGguf(memorySource(sink.files), "m.gguf", { device });
    const query = again.weights.layers[0]?.attention.query.weight;
    expect(query instanceof QuantTensor).toBe(type !== "F16");
    const inputs = batchInputs(model, [[1, 5, 9, 63, 0, 7]]);
    const [wanted, got] = [model.forward(inputs), again.forward(inputs)];
    expect(relativeError(await got.data(), await wanted.data())).toBeLessThan(tolerance);
    for (const held of [inputs, wanted, got, model, again]) held.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("half-precision matrices stay so on the CPU, and give the logits of widened ones", async () => {
    const device = cpu({ threads: 2 });
    const model = createModel({ config, device, weights: initWeights(config, device, { seed: 3 }) });
    const sink = memorySink();
    await saveGguf(sink, "m.gguf", model, { type: "F16" });
    model.dispose();
    const load = async (options: { readonly dtype?: "f32" }) => {
      const before = device.memory().bytes;
      const loaded = await loadGguf(memorySource(sink.files), "m.gguf", { device, ...options });
      return { loaded, bytes: device.memory().bytes - before };
    };
    const [kept, widened] = [await load({}), await load({ dtype: "f32" })];
    const dtypes = ({ loaded: { weights } }: typeof kept) => [
      ...[weights.embedding, weights.layers[0]?.attention.query.weight].map((weight) =>
        weight instanceof Tensor ? weight.dtype : "none",
      ),
      weights.norm?.weight?.dtype,
    ];
    expect(dtypes(kept)).toEqual(["f16", "f16", "f32"]);
    expect(dtypes(widened)).toEqual(["f32", "f32", "f32"]);
    expect(kept.bytes).toBeLessThan(0.51 * widened.bytes);
    // One row and many run different kernels; each must give what it gives for f32.
    for (const ids of [[5], [1, 5, 9, 63, 0, 7, 8, 2, 3, 4, 6]]) {
      const [got, wanted] = [kept, widened].map(({ loaded }) => loaded.logits({ ids: [ids] }));
      expect(relativeError((await got?.data()) ?? [], (await wanted?.data()) ?? [])).toBeLessThan(1e-6);
      got?.dispose();
      wanted?.dispose();
    }
    const choose = async ({ loaded }: typeof kept) => {
      const chosen: number[] = [];
      for await (const { id } of generate(loaded, [1, 2, 3], { maxTokens: 8, temperature: 0 }))
        chosen.push(id);
      return chosen;
    };
    expect(await choose(kept)).toEqual(await choose(widened));
    kept.loaded.dispose();
    widened.loaded.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("four bits leave the embedding six, and odd rows fall back", async () => {
    const device = cpu({ threads: 1 });
    const odd = parseConfig({ ...configToJson(config), intermediate_size: 96 });
    const model = createModel({ config: odd, device, weights: initWeights(odd, device, { seed: 3 }) });
    const sink = memorySink();
    await saveGguf(sink, "m.gguf", model, { type: "Q4_K" });
    const { tensors } = await openGguf(memorySource(sink.files), "m.gguf");
    const typeOf = (name: string) => tensors.get(name)?.type;
    expect(typeOf("token_embd.weight")).toBe("Q6_K");
    expect(typeOf("blk.0.attn_q.weight")).toBe("Q4_K");
    expect(typeOf("blk.0.ffn_down.weight")).toBe("Q8_0");
    expect(typeOf("output_norm.weight")).toBe("F32");
    model.dispose();
    device.dispose();
  });
});

test("a rotary scaling that the file would lose is refused", async () => {
  const model = await loadModel(goldenSource("llama_rope_dynamic"), { device: reference() });
  await expect(saveGguf(memorySink(), "m.gguf", model)).rejects.toThrow(
    "saveGguf: rotary scaling must be default, linear, yarn, llama3 or longrope, which GGUF has fields or tensors for; got dynamic. Save it with saveModel instead.",
  );
  const { positions } = model.config;
  if (positions.kind !== "rope") throw new Error("a llama rotates");
  const scaling = { kind: "yarn", factor: 2, originalMaxSeqLen: 16, mscale: 0.7, mscaleAllDim: 1 } as const;
  const config = { ...model.config, positions: { ...positions, scaling } };
  await expect(saveGguf(memorySink(), "m.gguf", { ...model, config })).rejects.toThrow(
    "saveGguf: yarn in GGUF has no field for mscale; got mscale 0.7. Save it with saveModel instead.",
  );
  model.dispose();
});

test("the factors of a scaling are tensors, and betas of yarn are fields", async () => {
  const device = reference();
  const { model, files } = await throughGguf("llama_rope_llama3", device);
  const { tensors } = await openGguf(memorySource(files), "model.gguf");
  expect(tensors.get("rope_freqs.weight")).toMatchObject({ type: "F32", shape: [model.config.headDim / 2] });
  // What was read as lists is written as lists.
  const sink = memorySink();
  await saveGguf(sink, "again.gguf", model);
  const again = await openGguf(memorySource(sink.files), "again.gguf");
  expect([...again.tensors.keys()].filter((name) => name.startsWith("rope"))).toEqual([
    "rope_factors_long.weight",
    "rope_factors_short.weight",
  ]);
  const { positions } = model.config;
  if (positions.kind !== "rope") throw new Error("a llama rotates");
  const scaling = { kind: "yarn", factor: 4, originalMaxSeqLen: 16, betaFast: 16, betaSlow: 2.5 } as const;
  await saveGguf(sink, "yarn.gguf", {
    ...model,
    config: { ...model.config, positions: { ...positions, scaling } },
  });
  const yarn = await loadGguf(memorySource(sink.files), "yarn.gguf", { device });
  expect(yarn.config.positions).toMatchObject({ scaling });
  yarn.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
});

test("a Mistral without a window is a llama in GGUF, to the bit", shows("mistral", "GGUF"), async () => {
  const device = reference();
  const { model_type, sliding_window, ...rest } = everyConfig("mistral");
  expect([model_type, typeof sliding_window]).toEqual(["mistral", "number"]);
  const config = parseConfig({ ...rest, model_type, sliding_window: null });
  const model = { ...(await loadModel(goldenSource("mistral"), { device })), config };
  const sink = memorySink();
  await saveGguf(sink, "m.gguf", model, { type: "F32" });
  const again = await loadGguf(memorySource(sink.files), "m.gguf", { device });
  const inputs = batchInputs(model, [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]]);
  const plain = createModel({ config, device, weights: model.weights });
  const [wanted, got] = [plain.forward(inputs), again.forward(inputs)];
  expect(await got.data()).toEqual(await wanted.data());
  for (const value of [inputs, wanted, got, again, model]) value.dispose();
  expect(device.memory().buffers).toBe(0);
});

test("a family that GGUF cannot hold is refused by name", async () => {
  const device = reference();
  const model = await loadModel(goldenSource("mpt"), { device });
  const windowed = await loadModel(goldenSource("mistral"), { device });
  await expect(saveGguf(memorySink(), "m.gguf", windowed)).rejects.toThrow("has no field for a window");
  windowed.dispose();
  await expect(saveGguf(memorySink(), "m.gguf", model)).rejects.toThrow(
    'got "mpt". Save it as safetensors instead.',
  );
  model.dispose();
});
