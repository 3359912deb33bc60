import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, HeddleError } from "@heddle/tensor";
import { trainByteLevelBpe } from "@heddle/tokenizers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { initWeights } from "../loading/init-weights.js";
import { createModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { loadGguf } from "./load-gguf.js";
import { saveGguf } from "./save-gguf.js";

async function smallFile(): Promise<Uint8Array> {
  const config = parseConfig({
    model_type: "llama",
    vocab_size: 270,
    hidden_size: 32,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 16,
  });
  const device = cpu({ threads: 1 });
  const tokenizer = await trainByteLevelBpe(["the cat sat on the mat"], { vocabSize: 262 });
  const model = createModel({ config, device, weights: initWeights(config, device, { seed: 0 }) });
  const sink = memorySink();
  await saveGguf(sink, "m.gguf", model, { type: "Q4_0", tokenizer });
  device.dispose();
  return sink.files["m.gguf"] ?? new Uint8Array();
}

const device = cpu({ threads: 1 });

/** Loads, asks for the tokenizer and frees; true where all went well, false where refused as it should be. */
async function loads(bytes: Uint8Array): Promise<boolean> {
  try {
    const model = await loadGguf(memorySource({ "m.gguf": bytes }), "m.gguf", { device });
    try {
      model.tokenizer?.encodeIds("the cat");
    } finally {
      model.dispose();
    }
    return true;
  } catch (error) {
    if (!HeddleError.is(error)) throw error;
    return false;
  } finally {
    expect(device.memory().buffers).toBe(0);
  }
}

test("a file with changed or missing bytes loads whole or is refused with a HeddleError, and nothing stays", async () => {
  const whole = await smallFile();
  expect(await loads(whole)).toBe(true);
  const change = fc.record({
    at: fc.integer({ min: 0, max: Math.min(9000, whole.byteLength - 1) }),
    byte: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 255)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = whole.slice();
      for (const { at, byte } of changes) bytes[at] = byte;
      await loads(bytes);
    }),
    { numRuns: 150 },
  );
  // The padding behind the last tensor may be missing.
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.byteLength - 64 }), async (length) => {
      expect(await loads(whole.slice(0, length))).toBe(false);
    }),
    { numRuns: 40 },
  );
});
