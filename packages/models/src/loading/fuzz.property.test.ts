import { memorySource } from "@heddle/checkpoints";
import { disposeTree, HeddleError, reference } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { goldenConfig, goldenFiles, goldenNames } from "../../test/golden-model.js";
import { loadModel } from "./load-model.js";
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

test.each(goldenNames)("%s: a changed config.json is read, or refused with its reason", async (name) => {
  const device = reference();
  const { "config.json": _, ...files } = goldenFiles(name);
  await fc.assert(
    fc.asyncProperty(mutated(goldenConfig(name) as Record<string, unknown>), async (json) => {
      const config = new TextEncoder().encode(JSON.stringify(json));
      try {
        const model = await loadModel(memorySource({ ...files, "config.json": config }), { device });
        try {
          const logits = model.logits({ ids: [[1, 2, 3]] });
          expect(logits.shape).toEqual([1, 3, model.config.vocabSize]);
          disposeTree(logits);
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
