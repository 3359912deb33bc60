import { cpu } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { goldenSource } from "../../test/golden-model.js";
import { createDecoder } from "../decoder/create-decoder.js";
import { loadModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { planMemory } from "./plan-memory.js";

/** The shape of Llama 3.2 1B. */
const config = parseConfig({
  model_type: "llama",
  vocab_size: 128_256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  tie_word_embeddings: true,
});

describe.each(["llama", "gpt2"])("%s", (name) => {
  test("takes as much as loading it does", async () => {
    const device = cpu({ threads: 1 });
    const model = await loadModel(goldenSource(name), { device });
    const { bytes } = device.memory();
    const decoder = createDecoder(model, { numSlots: 3, maxSeqLen: 40 });
    const plan = planMemory(model.config, { numSlots: 3, maxSeqLen: 40 });
    expect(plan.weightBytes).toBe(bytes);
    expect(plan.cacheBytes).toBe(decoder.cacheBytes);
    expect(plan.totalBytes).toBe(device.memory().bytes);
    decoder.dispose();
    model.dispose();
    device.dispose();
  });
});

test("counts a model of a billion weights", () => {
  const plan = planMemory(config, { dtype: "f16", maxSeqLen: 2048 });
  expect(plan.weightBytes).toBe(2 * 1_235_814_400); // the parameters that its card names
  expect(plan.cacheBytes).toBe(2 * 16 * 2 * 8 * 2048 * 64);
  expect(plan.largest).toEqual({ name: "embedding", shape: [128_256, 2048], bytes: 525_336_576 });
});

test("says what would fit", () => {
  const device = (maxBufferBytes: number) =>
    ({ kind: "webgpu", limits: { maxBufferBytes, threads: 1 } }) as const;
  const plan = (options: Parameters<typeof planMemory>[1]) => () => planMemory(config, options);
  expect(plan({ device: device(2 ** 27) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: planMemory: each tensor must fit into 134217728 bytes on the webgpu device; got cache.0.key f32[1, 8, 131072, 64] of 268435456. It fits with maxSeqLen 65536.]`,
  );
  expect(plan({ dtype: "f16", numSlots: 16, device: device(2 ** 30) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: planMemory: each tensor must fit into 1073741824 bytes on the webgpu device; got cache.0.key f16[16, 8, 131072, 64] of 2147483648. It fits with maxSeqLen 65536.]`,
  );
  expect(plan({ maxSeqLen: 2048, maxBytes: 3 * 2 ** 30 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: planMemory: weights and cache must fit into maxBytes 3221225472; got 4943257600 of weights and 134217728 of cache in f32. It fits in f16.]`,
  );
  expect(plan({ maxSeqLen: 2048, maxBytes: 2 ** 30 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: planMemory: weights and cache must fit into maxBytes 1073741824; got 4943257600 of weights and 134217728 of cache in f32. Not even half precision and a cache of 64 positions fit: quantise the weights, or use a smaller model.]`,
  );
  // Matrices are cut along their rows.
  expect(plan({ maxSeqLen: 2048, device: device(2 ** 27) })().largest.bytes).toBeGreaterThan(2 ** 27);
  expect(plan({ maxSeqLen: 2048, device: device(4000) })).toThrow(
    "each tensor must fit into 4000 bytes on the webgpu device; got cache.0.key",
  );
});
