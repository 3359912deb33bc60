import { compile, disposeTree, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { holdModel } from "../../test/held-model.js";
import { encoderNames, packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import type { TokenRows } from "../architecture.js";
import { loadModelOf } from "../loading/load-model.js";
import { type EncoderInputs, encoderHidden, encoderLogits } from "./encoder.js";
import { encoder, encoderInputs } from "./encoder-architecture.js";
import type { EncoderWeights } from "./weights.js";

describe.each(devices)("$name", ({ make, tolerance }) => {
  describe.each(encoderNames)("%s", (name) => {
    const golden = packedExpected(name);
    const use = holdModel(make, async (device) => ({
      model: await loadModelOf(encoder, packedSource(name), { device }),
    }));
    const rows = (kind: string): Required<Pick<TokenRows, "attentionMask">> & TokenRows => ({
      ids: rowsOf(golden, `${kind}.input_ids`),
      attentionMask: rowsOf(golden, `${kind}.attention_mask`),
      ...(golden.has(`${kind}.token_type_ids`)
        ? { tokenTypeIds: rowsOf(golden, `${kind}.token_type_ids`) }
        : {}),
    });

    test.each(["basic", "padded", "long"])("%s logits", showsOf(name, "forward"), async (kind) => {
      const { model } = use();
      const given = rows(kind);
      using logits = model.logits(given);
      const expected = golden.get(`${kind}.logits`);
      expect(logits.shape).toEqual(expected.shape);
      const mask = given.attentionMask.flatMap((row) => Array.from(row));
      const isPerToken = expected.shape.length === 3;
      const counts = (at: number) => !isPerToken || mask[Math.floor(at / (expected.shape[2] ?? 1))] === 1;
      expect(relativeError(await logits.data(), expected.data, counts)).toBeLessThan(tolerance);
    });

    test("compiled, also when run again with other ids", async () => {
      const { model } = use();
      const run = compile((weights: EncoderWeights, inputs: EncoderInputs) =>
        encoderLogits(model.config, weights, inputs),
      );
      const given = rows("padded");
      const { dispose, ...inputs } = encoderInputs(model, given);
      const turned = encoderInputs(model, {
        ...given,
        ids: given.ids.map((row) => Array.from(row).reverse()),
      });
      const { dispose: disposeTurned, ...others } = turned;
      run(model.weights, others).dispose();
      using logits = run(model.weights, inputs);
      const expected = golden.get("padded.logits");
      const mask = rowsOf(golden, "padded.attention_mask").flat();
      const isPerToken = expected.shape.length === 3;
      const counts = (at: number) => !isPerToken || mask[Math.floor(at / (expected.shape[2] ?? 1))] === 1;
      expect(relativeError(await logits.data(), expected.data, counts)).toBeLessThan(tolerance);
      dispose();
      disposeTurned();
      expect(run.plans().length).toBe(1);
      run.dispose();
    });

    test("hidden states of each layer", async () => {
      const { model } = use();
      const all = rows("basic");
      const first = Object.fromEntries(Object.entries(all).map(([key, of]) => [key, of.slice(0, 1)]));
      const inputs = encoderInputs(model, first as unknown as TokenRows);
      const hidden = encoderHidden(model.config, model.weights, { ...inputs, keepLayers: true });
      const expected = golden.get("basic.hidden_states");
      const states: Tensor[] = [...hidden.layers, hidden.last];
      expect(states.length).toBe(expected.shape[0]);
      const size = expected.data.length / states.length;
      for (const [at, state] of states.entries()) {
        const wanted = expected.data.subarray(at * size, (at + 1) * size);
        expect(relativeError(await state.data(), wanted), `state ${at}`).toBeLessThan(tolerance);
      }
      inputs.dispose();
      disposeTree(hidden);
    });
  });
});
