import { compile, cpu, disposeTree, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import type { Inspection } from "../inspection/inspect.js";
import { loadModelOf } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import { type RecurrentWeights, recurrentHidden } from "./recurrent.js";
import { recurrent } from "./recurrent-architecture.js";

describe.each(["mamba", "mamba2", "rwkv"])("%s", (name) => {
  test("the stream is what goes through the layers, and what blocks add can be replaced", async () => {
    const device = cpu({ threads: 1 });
    const model = await loadModelOf(recurrent, packedSource(name), { device });
    const { config, weights } = model;
    const ids = tokenGrid(device, rowsOf(packedExpected(name), "basic.input_ids"));
    const plain = recurrentHidden(config, weights, { ids, keepLayers: true });
    const hasMlp = name === "rwkv";
    const keep = hasMlp ? (["residual", "attention", "mlp"] as const) : (["residual", "attention"] as const);
    const seen = recurrentHidden(config, weights, { ids, inspect: { keep } });
    const { residual = [], attention = [], mlp = [] } = seen.activations ?? {};
    expect([residual.length, attention.length, mlp.length]).toEqual([
      config.numLayers + 1,
      config.numLayers,
      hasMlp ? config.numLayers : 0,
    ]);
    for (const [layer, stream] of residual.entries()) {
      const wanted = plain.layers[layer];
      // RWKV's first layer reads the embeddings behind a norm.
      if (wanted !== undefined && !(hasMlp && layer === 0))
        expect(relativeError(await stream.data(), await wanted.data())).toBeLessThan(1e-6);
      const [before, mixed, fed] = [residual[layer - 1], attention[layer - 1], mlp[layer - 1]];
      if (before === undefined || mixed === undefined) continue;
      using sum = before.add(mixed);
      using whole = fed === undefined ? sum.mul(1) : sum.add(fed);
      expect(relativeError(await whole.data(), await stream.data())).toBeLessThan(1e-6);
    }
    // A layer that adds nothing is a layer left out.
    const nothing = (x: Tensor) => x.mul(0);
    const replace = { attention: nothing, ...(hasMlp && { mlp: nothing }) };
    const inspect = { layers: [1], replace };
    const skipped = recurrentHidden(config, weights, { ids, inspect });
    const layers = weights.layers.filter((_, layer) => layer !== 1);
    const without = recurrentHidden({ ...config, numLayers: layers.length }, { ...weights, layers }, { ids });
    expect(relativeError(await skipped.last.data(), await without.last.data())).toBeLessThan(1e-5);
    disposeTree([plain, seen, skipped, without, ids]);
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("without an inspection nothing more is launched; points that it has not are an error", async () => {
    const device = cpu({ threads: 1 });
    const model = await loadModelOf(recurrent, packedSource(name), { device });
    const ids = tokenGrid(device, [[1, 2, 3, 4]]);
    const launchesOf = (inspect: Inspection | undefined) => {
      const run = compile((weights: RecurrentWeights, given: Tensor) =>
        recurrentHidden(model.config, weights, { ids: given, inspect }),
      );
      disposeTree(run(model.weights, ids));
      const launches = run.plans().map((plan) => plan.launches.map((launch) => launch.name));
      run.dispose();
      return launches[0];
    };
    const plain = launchesOf(undefined);
    expect(plain?.length).toBeGreaterThan(5);
    expect(launchesOf({ replace: { attention: () => undefined } })).toEqual(plain);
    const points = name === "rwkv" ? "residual, attention, mlp" : "residual, attention";
    expect(() => launchesOf({ keep: ["pattern"] })).toThrow(
      `inspect: a ${name} model has the points ${points}; got pattern. Ask for those that it has.`,
    );
    disposeTree(ids);
    model.dispose();
    device.dispose();
  });
});
