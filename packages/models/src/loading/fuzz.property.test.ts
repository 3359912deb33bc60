import { memorySource } from "@heddle/checkpoints";
import { HeddleError, reference } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { caseRows, everyConfig, everyExpected, everyFiles, everyName } from "../../test/every-golden.js";
import { goldenConfig, goldenFiles } from "../../test/golden-model.js";
import type { TokenRows } from "../architecture.js";
import { loadAnyModel, loadModel } from "./load-model.js";
import { parseConfig } from "./parse-config.js";

const value = fc.oneof(
  fc.integer({ min: -2, max: 40 }),
  fc.constantFrom(
    0.5,
    1e-9,
    1e9,
    2 ** 53,
    Number.NaN,
    null,
    true,
    false,
    "",
    "silu",
    "sliding_attention",
    [],
    {},
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

/** A configuration with some keys replaced, removed or added. */
function mutated(json: Readonly<Record<string, unknown>>) {
  const key = fc.constantFrom(...Object.keys(json).filter((name) => name !== "model_type"));
  const change = fc.oneof(
    fc.tuple(key, value),
    fc.tuple(key, fc.constant(undefined)),
    fc.tuple(fc.string(), value),
  );
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => ({ ...json, ...Object.fromEntries(changes) }));
}

/** Something that the model can read. */
async function rowsOf(name: string): Promise<TokenRows> {
  const { frames, decoderIds } = caseRows(await everyExpected(name), "basic");
  return frames === undefined ? { ids: [[1, 2, 3]] } : { ids: [], frames, decoderIds: decoderIds ?? [] };
}

test.each(everyName)("%s: a changed config.json is read, or refused with its reason", async (name) => {
  const device = reference();
  const { "config.json": _, ...files } = everyFiles(name);
  const { frames } = caseRows(await everyExpected(name), "basic");
  const row = await rowsOf(name);
  await fc.assert(
    fc.asyncProperty(mutated(everyConfig(name)), async (json) => {
      const config = new TextEncoder().encode(JSON.stringify(json));
      try {
        const model = await loadAnyModel(memorySource({ ...files, "config.json": config }), { device });
        try {
          using logits = model.logits(row);
          expect(logits.shape[0]).toBe(frames?.shape[0] ?? 1);
        } finally {
          model.dispose();
        }
      } catch (error) {
        if (!HeddleError.is(error)) throw error;
        expect(error.message.length).toBeGreaterThan(20);
      }
    }),
    { numRuns: 12, seed: 7 },
  );
});

test.each(everyName)(
  "%s: a config.json that asks for a billion of anything is refused, not waited for",
  async (name) => {
    const json = everyConfig(name);
    const files = everyFiles(name);
    const sizes = Object.keys(json).filter(
      (key) => Number.isInteger(json[key]) && !key.endsWith("_token_id"),
    );
    expect(sizes.length).toBeGreaterThan(3);
    const row = await rowsOf(name);
    const device = reference();
    for (const key of sizes) {
      for (const value of [1e9, 2 ** 53]) {
        const config = new TextEncoder().encode(JSON.stringify({ ...json, [key]: value }));
        try {
          const model = await loadAnyModel(memorySource({ ...files, "config.json": config }), { device });
          try {
            model.logits(row).dispose();
          } finally {
            model.dispose();
          }
        } catch (error) {
          if (!HeddleError.is(error)) throw error;
        }
      }
    }
    expect(device.memory().buffers).toBe(0);
  },
);

test("numbers that would ask for a billion parts are refused at once", () => {
  const json = goldenConfig("llama") as object;
  expect(() => parseConfig({ ...json, num_hidden_layers: 1e9 })).toThrow(/num_hidden_layers = 1000000000/);
  const deci = { ...json, model_type: "deci", num_key_value_heads_per_layer: [1e12, 1] };
  expect(() => parseConfig(deci)).toThrow(HeddleError);
});

test("a damaged weight file is an error that says so, or weights of the right shapes", async () => {
  const device = reference();
  const files = goldenFiles("llama");
  const file = files["model.safetensors"] ?? new Uint8Array(0);
  const place = fc.integer({ min: 0, max: 2600 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 4 }),
      async (changes) => {
        const damaged = Uint8Array.from(file);
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          const model = await loadModel(memorySource({ ...files, "model.safetensors": damaged }), { device });
          expect(model.weights.embedding).toMatchObject({ shape: [72, 32] });
          model.dispose();
        } catch (error) {
          if (!HeddleError.is(error)) throw error;
        }
        expect(device.memory().buffers).toBe(0);
      },
    ),
    { numRuns: 100, seed: 7 },
  );
});
