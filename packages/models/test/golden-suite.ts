import type { Tensor } from "@heddle/tensor";
import { compile, disposeTree } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { batchInputs } from "../src/decoder/batch-inputs.js";
import { decoderHidden, decoderLogits } from "../src/decoder/decoder.js";
import { loadModel } from "../src/loading/load-model.js";
import type { DecoderWeights } from "../src/weights.js";
import type { ModelDevice } from "./devices.js";
import { goldenExpected, goldenNames, goldenSource, rowsOf } from "./golden-model.js";
import { holdModel } from "./held-model.js";
import { relativeError } from "./relative-error.js";
import { showsOf } from "./shows.js";

/** Compares golden models with what Hugging Face computed, on one device. */
export function describeGoldenModels(
  { name: deviceName, make, tolerance, isShared = false }: ModelDevice,
  names: readonly string[] = goldenNames,
): void {
  describe.each(names)(`${deviceName} %s`, (name) => {
    const use = holdModel(
      make,
      async (device) => ({
        model: await loadModel(goldenSource(name), { device }),
        golden: await goldenExpected(name),
      }),
      { isShared },
    );

    const ability = deviceName === "webgpu" ? "WebGPU" : "forward";
    test.each(["basic", "long"])("%s logits", showsOf(name, ability), async (kind) => {
      const { model, golden } = use();
      const inputs = batchInputs(model, rowsOf(golden[`${kind}.input_ids`]));
      const logits = model.forward(inputs);
      const expected = golden[`${kind}.logits`];
      expect(logits.shape).toEqual(expected?.shape);
      expect(relativeError(await logits.data(), expected?.data ?? [])).toBeLessThan(tolerance);
      inputs.dispose();
      logits.dispose();
    });

    test("compiled, also when run again with other ids", async () => {
      const { model, golden } = use();
      const run = compile((weights: DecoderWeights, ids: Tensor) =>
        decoderLogits(model.config, weights, { ids }),
      );
      const first = batchInputs(
        model,
        rowsOf(golden["long.input_ids"]).map((row) => row.toReversed()),
      );
      run(model.weights, first.ids).dispose();
      const inputs = batchInputs(model, rowsOf(golden["long.input_ids"]));
      const logits = run(model.weights, inputs.ids);
      expect(run.plans().length).toBe(1);
      expect(relativeError(await logits.data(), golden["long.logits"]?.data ?? [])).toBeLessThan(tolerance);
      disposeTree([first.ids, inputs.ids, logits]);
      run.dispose();
    });

    test("hidden states of each layer", async () => {
      const { model, golden } = use();
      // The shape of the logits' test, whose shaders are there; the golden states are those of its first row.
      const inputs = batchInputs(model, rowsOf(golden["basic.input_ids"]));
      const hidden = decoderHidden(model.config, model.weights, { ...inputs, keepLayers: true });
      const expected = golden["basic.hidden_states"];
      const states = [...hidden.layers, hidden.last];
      expect(states.length).toBe(expected?.shape[0]);
      const size = (expected?.data.length ?? 0) / states.length;
      for (const [at, state] of states.entries()) {
        const wanted = expected?.data.subarray(at * size, (at + 1) * size) ?? [];
        expect(state.shape).toEqual([inputs.ids.shape[0], ...(expected?.shape.slice(1) ?? [])]);
        expect(relativeError((await state.data()).subarray(0, size), wanted)).toBeLessThan(tolerance);
      }
      inputs.dispose();
      disposeTree(hidden);
    });

    test("right padding changes nothing", async () => {
      const { model, golden } = use();
      const mask = golden["padded.attention_mask"];
      const inputs = batchInputs(model, rowsOf(golden["padded.input_ids"]), rowsOf(mask));
      const logits = model.forward(inputs);
      const isToken = (at: number) => mask?.data[Math.floor(at / model.config.vocabSize)] === 1;
      const expected = golden["padded.logits"]?.data ?? [];
      expect(relativeError(await logits.data(), expected, isToken)).toBeLessThan(tolerance);
      inputs.dispose();
      logits.dispose();
    });

    test("left padding gives the next tokens of the rows alone", async () => {
      const { model, golden } = use();
      if (golden["leftpad.input_ids"] === undefined) return;
      const ids = rowsOf(golden["leftpad.input_ids"]);
      const next = rowsOf(golden["leftpad.greedy_ids"]);
      const numSteps = 8;
      const promptLength = ids[0]?.length ?? 0;
      const width = promptLength + numSteps - 1;
      // Tokens see those before them alone, so that one pass says what each of the next tokens is: many widths would mean many shaders.
      const inputs = batchInputs(
        model,
        ids.map((row, at) => [...row, ...(next[at] ?? []).slice(0, numSteps - 1)]),
        rowsOf(golden["leftpad.attention_mask"]).map((row) => [...row, ...Array(numSteps - 1).fill(1)]),
      );
      const logits = model.forward(inputs);
      const best = logits.argmax({ axis: -1 });
      const values = await best.data();
      for (const [row, wanted] of next.entries())
        for (let step = 0; step < numSteps; step++)
          expect(values[row * width + promptLength - 1 + step]).toBe(wanted[step]);
      inputs.dispose();
      disposeTree([logits, best]);
    });
  });
}
