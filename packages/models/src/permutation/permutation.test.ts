import { compile, disposeTree, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { holdModel } from "../../test/held-model.js";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { permutedInputs } from "../../test/permuted-inputs.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import { loadModelOf } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import { type PermutationInputs, permutationHidden, permutationUnembed } from "./permutation.js";
import { permutation } from "./permutation-architecture.js";
import type { PermutationWeights } from "./weights.js";

describe.each(devices)("xlnet on $name", ({ make, tolerance }) => {
  const golden = packedExpected("xlnet");
  const use = holdModel(make, async (device) => ({
    model: await loadModelOf(permutation, packedSource("xlnet"), { device }),
  }));

  test.each(["basic", "padded"])("%s logits", showsOf("xlnet", "forward"), async (kind) => {
    const { model } = use();
    const mask = golden.has(`${kind}.attention_mask`) ? rowsOf(golden, `${kind}.attention_mask`) : undefined;
    using logits = model.logits({
      ids: rowsOf(golden, `${kind}.input_ids`),
      tokenTypeIds: rowsOf(golden, `${kind}.token_type_ids`),
      ...(mask === undefined ? {} : { attentionMask: mask }),
    });
    const counts = (at: number) => mask?.flat()[Math.floor(at / model.config.vocabSize)] !== 0;
    const expected = golden.get(`${kind}.logits`);
    expect(logits.shape).toEqual(expected.shape);
    expect(relativeError(await logits.data(), expected.data, counts)).toBeLessThan(tolerance);
  });

  test("hidden states of each layer", async () => {
    const { model, device } = use();
    using ids = tokenGrid(device, rowsOf(golden, "basic.input_ids").slice(0, 1));
    using typeIds = tokenGrid(device, rowsOf(golden, "basic.token_type_ids").slice(0, 1));
    const hidden = permutationHidden(model.config, model.weights, { ids, typeIds, keepLayers: true });
    const expected = golden.get("basic.hidden_states");
    const states: Tensor[] = [...hidden.layers, hidden.last];
    expect(states.length).toBe(expected.shape[0]);
    const size = expected.data.length / states.length;
    for (const [at, state] of states.entries()) {
      const wanted = expected.data.subarray(at * size, (at + 1) * size);
      expect(relativeError(await state.data(), wanted)).toBeLessThan(tolerance);
    }
    disposeTree(hidden);
  });

  test("the second stream predicts targets in an order of factorisation", async () => {
    const { model, device } = use();
    const inputs = permutedInputs(device, golden);
    using logits = model.forward(inputs);
    const expected = golden.get("perm.logits");
    expect(logits.shape).toEqual(expected.shape);
    expect(relativeError(await logits.data(), expected.data)).toBeLessThan(tolerance);
    disposeTree(inputs);
  });

  test("compiled, with memories and with targets, also when run again", async () => {
    const { model, device } = use();
    const run = compile((weights: PermutationWeights, inputs: PermutationInputs) => {
      const { last, memories } = permutationHidden(model.config, weights, inputs);
      return { logits: permutationUnembed(weights, last), memories };
    });
    const grid = (name: string) => tokenGrid(device, rowsOf(golden, name));
    const permuted = permutedInputs(device, golden);
    const segments = [grid("mems.segment1"), grid("mems.segment2")] as const;
    const results = [run(model.weights, { ids: segments[1] }), run(model.weights, permuted)];
    const first = run(model.weights, { ids: segments[0] });
    const second = run(model.weights, { ids: segments[1], memories: first.memories });
    for (const [result, name] of [
      [results[1], "perm.logits"],
      [first, "mems.logits1"],
      [second, "mems.logits2"],
    ] as const) {
      const data = (await result?.logits.data()) ?? [];
      expect(relativeError(data, golden.get(name).data), name).toBeLessThan(tolerance);
    }
    expect(run.plans().length).toBe(3); // a piece alone, one with memories, one with targets
    disposeTree([permuted, segments, results, first, second]);
    run.dispose();
  });

  test("memories carry one piece of a text into the next", async () => {
    const { model, device } = use();
    using first = tokenGrid(device, rowsOf(golden, "mems.segment1"));
    using second = tokenGrid(device, rowsOf(golden, "mems.segment2"));
    const one = permutationHidden(model.config, model.weights, { ids: first });
    const two = permutationHidden(model.config, model.weights, { ids: second, memories: one.memories });
    for (const [hidden, name] of [
      [one, "mems.logits1"],
      [two, "mems.logits2"],
    ] as const) {
      using logits = permutationUnembed(model.weights, hidden.last);
      expect(relativeError(await logits.data(), golden.get(name).data)).toBeLessThan(tolerance);
    }
    // Transformers lays memories out as [layer, place, row, feature].
    const { shape, data } = golden.get("mems.mems1");
    const size = data.length / (shape[0] ?? 1);
    for (const [layer, memory] of one.memories.entries()) {
      using turned = memory.transpose([1, 0, 2]);
      const wanted = data.subarray(layer * size, (layer + 1) * size);
      expect(relativeError(await turned.data(), wanted)).toBeLessThan(tolerance);
    }
    disposeTree([one, two]);
  });
});
