import { compile, disposeTree, mapTree, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { holdModel } from "../../test/held-model.js";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { permutedInputs } from "../../test/permuted-inputs.js";
import { relativeError } from "../../test/relative-error.js";
import { attentionPatterns } from "../inspection/attention-patterns.js";
import type { ActivationPoint, Inspection } from "../inspection/inspect.js";
import { inspectModel } from "../inspection/inspect-model.js";
import { loadModelOf } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import { permutationHidden } from "./permutation.js";
import { permutation } from "./permutation-architecture.js";

const keep: readonly ActivationPoint[] = [
  "residual",
  "query",
  "key",
  "value",
  "pattern",
  "heads",
  "attention",
  "mlp",
];

describe.each(devices)("xlnet on $name", ({ make, tolerance }) => {
  const golden = packedExpected("xlnet");
  const use = holdModel(make, async (device) => ({
    model: await loadModelOf(permutation, packedSource("xlnet"), { device }),
  }));
  const rows = {
    ids: rowsOf(golden, "basic.input_ids"),
    tokenTypeIds: rowsOf(golden, "basic.token_type_ids"),
  };

  test("the stream is the golden hidden states, patterns sum to 1, every point has its shape", async () => {
    const { model } = use();
    const { config } = model;
    const found = inspectModel(model, rows, { keep });
    const [B, T] = [rows.ids.length, rows.ids[0]?.length ?? 0];
    const { numHeads: H, headDim: D, modelDim: E, numLayers: L } = config;
    const heads = [B, H, T, D];
    const stream = [B, T, E];
    const shapes = { query: heads, key: heads, value: heads, heads, pattern: [B, H, T, T], residual: stream };
    for (const [point, shape] of Object.entries({ ...shapes, attention: stream, mlp: stream })) {
      const values = found[point as ActivationPoint] ?? [];
      expect(values.length, point).toBe(point === "residual" ? L + 1 : L);
      for (const x of values) expect(x.shape, point).toEqual(shape);
    }
    const wanted = golden.get("basic.hidden_states");
    const size = wanted.data.length / (L + 1);
    for (const [at, x] of (found.residual ?? []).entries()) {
      const row = (await x.data()).subarray(0, size);
      expect(relativeError(row, wanted.data.subarray(at * size, (at + 1) * size))).toBeLessThan(tolerance);
    }
    for (const pattern of found.pattern ?? []) {
      const weights = Array.from(await pattern.data());
      for (let row = 0; row < B * H * T; row++) {
        const sum = weights.slice(row * T, (row + 1) * T).reduce((total, weight) => total + weight, 0);
        expect(Math.abs(sum - 1)).toBeLessThan(tolerance * 10);
      }
    }
    disposeTree(found);
  });

  test("in the second stream a target's place gives itself no weight, in the first it does", async () => {
    const { model, device } = use();
    const inputs = permutedInputs(device, golden);
    const pattern: Inspection = { keep: ["pattern", "residual"] };
    const found = permutationHidden(model.config, model.weights, {
      ...inputs,
      inspect: pattern,
      inspectTargets: pattern,
    });
    const plain = permutationHidden(model.config, model.weights, inputs);
    expect(relativeError(await found.last.data(), await plain.last.data())).toBeLessThan(tolerance);
    const last = found.targetActivations?.residual?.at(-1);
    expect(relativeError((await last?.data()) ?? [], await plain.last.data())).toBeLessThan(tolerance);
    const hidden = golden.get("perm.perm_mask");
    const [, T = 1] = hidden.shape;
    const own = (await found.activations?.pattern?.[0]?.data()) ?? [];
    const other = (await found.targetActivations?.pattern?.[0]?.data()) ?? [];
    let numHidden = 0;
    // Row 0 of the batch, head 0.
    for (let at = 0; at < T * T; at++) {
      const [i, j] = [Math.floor(at / T), at % T];
      const isHidden = hidden.data[at] !== 0;
      if (isHidden && hidden.data.subarray(i * T, (i + 1) * T).some((x) => x === 0)) {
        numHidden++;
        expect(other[at]).toBe(0);
      }
      if (isHidden && i !== j) expect(own[at]).toBe(0);
      if (i === j) expect(own[at]).toBeGreaterThan(0);
    }
    expect(numHidden).toBeGreaterThan(0);
    disposeTree([inputs, found, plain]);
  });

  test("values can be replaced, and layers chosen; compiled too", async () => {
    const { model, device } = use();
    const { config, weights } = model;
    using ids = tokenGrid(device, rows.ids);
    const lastOf = async (inspect?: Inspection, tree = weights) => {
      const hidden = permutationHidden(config, tree, { ids, inspect });
      const data = await hidden.last.data();
      disposeTree(hidden);
      return data;
    };
    const zeros = (x: Tensor) => x.mul(0);
    // No value is as no output projection in layer 1.
    const closed = mapTree<Tensor, typeof weights>(weights, (leaf, path) =>
      path === "layers.1.attention.value" ? leaf.mul(0) : leaf.mul(1),
    );
    const wanted = await lastOf(undefined, closed);
    for (const point of ["value", "pattern", "heads", "attention"] as const) {
      const inspect = { layers: [1], replace: { [point]: zeros } };
      expect(relativeError(await lastOf(inspect), wanted), point).toBeLessThan(tolerance);
    }
    expect(relativeError(await lastOf(), wanted)).toBeGreaterThan(0.01);
    // Queries go into the terms of positions and segments, too: a query of another layer changes the pattern.
    const turned = await lastOf({ layers: [0], replace: { query: (x) => x.mul(2) } });
    expect(relativeError(turned, await lastOf())).toBeGreaterThan(0.001);
    const run = compile((tree: typeof weights, given: Tensor) =>
      permutationHidden(config, tree, { ids: given, inspect: { keep: ["mlp"], layers: [1] } }),
    );
    const compiled = run(weights, ids);
    const eager = inspectModel(model, { ids: rows.ids }, { keep: ["mlp"] });
    const [one = []] = await Promise.all((compiled.activations?.mlp ?? []).map((x) => x.data()));
    expect(compiled.activations?.mlp?.length).toBe(1);
    expect(relativeError(one, (await eager.mlp?.[1]?.data()) ?? [])).toBeLessThan(tolerance);
    disposeTree([closed, compiled, eager]);
    run.dispose();
  });

  test("without an inspection nothing more is launched; patterns come as heat maps", async () => {
    const { model, device } = use();
    using ids = tokenGrid(device, rows.ids);
    const launchesOf = (inspect: Inspection | undefined) => {
      const run = compile((given: Tensor) =>
        permutationHidden(model.config, model.weights, { ids: given, inspect }),
      );
      disposeTree(run(ids));
      const [plan] = run.plans();
      run.dispose();
      return plan?.launches.length;
    };
    expect(launchesOf({})).toBe(launchesOf(undefined));
    expect(launchesOf({ keep: ["pattern"] })).toBeGreaterThan(launchesOf(undefined) ?? Infinity);
    const maps = await attentionPatterns(model, rows.ids[0] ?? [], { layer: 0 });
    expect(maps.length).toBe(model.config.numHeads);
  });
});
