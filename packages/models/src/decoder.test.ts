import { disposeTree, reference } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { goldenExpected, goldenNames, goldenSource, rowsOf } from "../test/golden-model.js";
import { batchInputs } from "./batch-inputs.js";
import { decoderHidden } from "./decoder.js";
import { type LoadedModel, loadModel } from "./load-model.js";

/** Largest difference over the largest value that is expected. */
function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, counts: (at: number) => boolean): number {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  let largest = 0;
  for (let at = 0; at < expected.length; at++) {
    largest = Math.max(largest, Math.abs(expected[at] ?? 0));
    const error = Math.abs((actual[at] ?? Number.NaN) - (expected[at] ?? Number.NaN));
    if (counts(at)) worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst / largest;
}

const devices = [{ name: "reference", device: reference(), tolerance: 1e-6 }];
afterAll(() => {
  for (const { device } of devices) device.dispose();
});

describe.each(devices)("$name", ({ device, tolerance }) => {
  describe.each(goldenNames)("%s", (name) => {
    async function withModel(run: (model: LoadedModel, golden: Awaited<ReturnType<typeof goldenExpected>>) => Promise<void>) {
      const before = device.memory().buffers;
      const model = await loadModel(goldenSource(name), { device });
      await run(model, await goldenExpected(name));
      model.dispose();
      expect(device.memory().buffers).toBe(before);
    }

    test.each(["basic", "long"])("%s logits", async (kind) => {
      await withModel(async (model, golden) => {
        const inputs = batchInputs(device, rowsOf(golden[`${kind}.input_ids`]));
        const logits = model.forward(inputs);
        const expected = golden[`${kind}.logits`];
        expect(logits.shape).toEqual(expected?.shape);
        expect(relativeError(await logits.data(), expected?.data ?? [], () => true)).toBeLessThan(tolerance);
        inputs.dispose();
        logits.dispose();
      });
    });

    test("hidden states of each layer", async () => {
      await withModel(async (model, golden) => {
        const inputs = batchInputs(device, rowsOf(golden["basic.input_ids"]).slice(0, 1));
        const hidden = decoderHidden(model.config, model.weights, { ...inputs, keepLayers: true });
        const expected = golden["basic.hidden_states"];
        const states = [...hidden.layers, hidden.last];
        expect(states.length).toBe(expected?.shape[0]);
        const size = (expected?.data.length ?? 0) / states.length;
        for (const [at, state] of states.entries()) {
          const wanted = expected?.data.subarray(at * size, (at + 1) * size) ?? [];
          expect(relativeError(await state.data(), wanted, () => true)).toBeLessThan(tolerance);
        }
        inputs.dispose();
        disposeTree(hidden);
      });
    });

    test("right padding changes nothing", async () => {
      await withModel(async (model, golden) => {
        const mask = golden["padded.attention_mask"];
        const inputs = batchInputs(device, rowsOf(golden["padded.input_ids"]), rowsOf(mask));
        const logits = model.forward(inputs);
        const isToken = (at: number) => mask?.data[Math.floor(at / model.config.vocabSize)] === 1;
        const expected = golden["padded.logits"]?.data ?? [];
        expect(relativeError(await logits.data(), expected, isToken)).toBeLessThan(tolerance);
        inputs.dispose();
        logits.dispose();
      });
    });
  });
});
