import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, type Device, Tensor } from "@heddle/tensor";
import { expect, test } from "vitest";
import { initWeights } from "../loading/init-weights.js";
import { createModel, type LoadedModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { calibrate } from "./calibrate.js";
import { loadGguf } from "./load-gguf.js";
import { type GgufWeightType, saveGguf } from "./save-gguf.js";

const config = parseConfig({
  model_type: "llama",
  vocab_size: 64,
  hidden_size: 256,
  intermediate_size: 256,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
});

const textOf = (count: number, seed: number) =>
  Int32Array.from({ length: count }, (_, at) => (at * at * 7 + at * seed) % 64);

async function weightError(model: LoadedModel, type: GgufWeightType, options: object, device: Device) {
  const sink = memorySink();
  await saveGguf(sink, "m.gguf", model, { type, ...options });
  const again = await loadGguf(memorySource(sink.files), "m.gguf", { device });
  using got = again.logits({ ids: [[...textOf(96, 5)]] });
  using wanted = model.logits({ ids: [[...textOf(96, 5)]] });
  const [one, other] = [Float32Array.from(await got.data()), await wanted.data()];
  again.dispose();
  return one.reduce((sum, value, at) => sum + (value - (other[at] ?? 0)) ** 2, 0);
}

test("a calibrated file keeps logits nearer in every type of few bits", { timeout: 60_000 }, async () => {
  const device = cpu({ threads: 1 });
  const model = createModel({ config, device, weights: initWeights(config, device, { seed: 3 }) });
  const progress: number[] = [];
  const calibration = await calibrate(model, textOf(2048 + 5, 3), {
    device,
    window: 64,
    onProgress: ({ done, total }) => progress.push(done / total),
  });
  expect(progress).toEqual([0.25, 0.5, 0.75, 1]);
  expect(calibration.size).toBe(7);
  const layer = "layers.0";
  expect(calibration.get(`${layer}.attention.value.weight`)).toBe(
    calibration.get(`${layer}.attention.query.weight`),
  );
  expect(calibration.get(`${layer}.mlp.down.weight`)?.width).toBe(256);
  for (const type of ["Q4_0", "Q4_K"] as const) {
    const plain = await weightError(model, type, {}, device);
    const calibrated = await weightError(model, type, { calibration }, device);
    expect(calibrated, type).toBeLessThan(0.8 * plain);
  }
  for (const type of ["Q6_K", "Q8_0"] as const) {
    const plain = await weightError(model, type, {}, device);
    expect(await weightError(model, type, { calibration }, device), type).toBeLessThan(1.1 * plain);
  }
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

test("a text shorter than a passage is refused, a stopped calibration frees all", async () => {
  const device = cpu({ threads: 1 });
  const model = createModel({ config, device, weights: initWeights(config, device, { seed: 3 }) });
  await expect(calibrate(model, [1, 2, 3], { device })).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: calibrate: the text must fill one passage; got 3 tokens, window 256. Use a longer text or a smaller window.]`,
  );
  const held = device.memory().buffers;
  const stop = new AbortController();
  const stopped = calibrate(model, textOf(512, 3), {
    device,
    window: 32,
    rows: 4,
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  await expect(stopped).rejects.toThrow("aborted");
  expect(device.memory().buffers).toBe(held);
  expect(model.weights.layers[0]?.attention.query.weight).toBeInstanceOf(Tensor);
  model.dispose();
  device.dispose();
});
