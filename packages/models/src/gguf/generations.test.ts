import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu } from "@heddle/tensor";
import { expect, test } from "vitest";
import { createDecoder } from "../decoder/create-decoder.js";
import { generate } from "../generation/generate.js";
import { initWeights } from "../loading/init-weights.js";
import { createModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { loadGguf } from "./load-gguf.js";
import { saveGguf } from "./save-gguf.js";

test("1,000 generations with a quantised model leave no buffer and no memory behind", async () => {
  const device = cpu({ threads: 1 });
  const config = parseConfig({
    model_type: "llama",
    vocab_size: 64,
    hidden_size: 32,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 16,
  });
  const fresh = createModel({ config, device, weights: initWeights(config, device, { seed: 0 }) });
  const sink = memorySink();
  await saveGguf(sink, "m.gguf", fresh, { type: "Q4_0" });
  fresh.dispose();
  const model = await loadGguf(memorySource(sink.files), "m.gguf", { device });
  const decoder = createDecoder(model, { numSlots: 1, maxSeqLen: 16 });
  const run = async (seed: number) => {
    for await (const token of generate(model, [1 + (seed % 60), 2], {
      decoder,
      maxTokens: 3,
      seed,
      temperature: 1,
    }))
      expect(token.id).toBeLessThan(64);
  };
  await run(0);
  const { buffers, bytes } = device.memory();
  for (let i = 0; i < 1000; i++) await run(i);
  expect(device.memory()).toMatchObject({ buffers, bytes });
  decoder.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});
