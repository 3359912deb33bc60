import { memorySink, memorySource, openGguf } from "@heddle/checkpoints";
import { QuantTensor } from "@heddle/quant";
import { cpu, type Device, reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { relativeError } from "../../test/relative-error.js";
import { batchInputs } from "../decoder/batch-inputs.js";
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

const goldens = ["llama", "llama_rope_linear", "llama_rope_yarn", "qwen2", "qwen3", "gemma", "phi3", "gpt2"];

describe.each(goldens)("%s, written as F32 and loaded again,", (name) => {
  test("gives Hugging Face's logits", async () => {
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
  const model = await loadModel(goldenSource("llama_rope_llama3"), { device: reference() });
  await expect(saveGguf(memorySink(), "m.gguf", model)).rejects.toThrow(
    "saveGguf: rotary scaling must be default, linear or yarn, because others need tensors of factors, which are not written yet; got llama3. Save it with saveModel instead.",
  );
  model.dispose();
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
