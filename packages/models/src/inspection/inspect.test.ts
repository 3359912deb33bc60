import { compile, cpu, type Device, disposeTree, scope, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { packedExpected, rowsOf as packedRows, packedSource } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { batchInputs } from "../decoder/batch-inputs.js";
import { decoderHidden, decoderLogits } from "../decoder/decoder.js";
import { encoderHidden } from "../encoder/encoder.js";
import { encoder, encoderInputs } from "../encoder/encoder-architecture.js";
import { loadModel, loadModelOf } from "../loading/load-model.js";
import type { DecoderWeights } from "../weights.js";
import type { ActivationPoint, Inspection } from "./inspect.js";
import { logitLens } from "./logit-lens.js";

async function open(device: Device, name = "llama") {
  const model = await loadModel(goldenSource(name), { device });
  const golden = await goldenExpected(name);
  const inputs = batchInputs(model, rowsOf(golden["basic.input_ids"]));
  return { model, golden, inputs };
}

const points: ActivationPoint[] = [
  "residual",
  "query",
  "key",
  "value",
  "pattern",
  "heads",
  "attention",
  "mlp",
];

describe.each(devices)("$name", ({ make, tolerance }) => {
  test("every point is read, and the pass stays what it was", async () => {
    const device = make();
    const { model, golden, inputs } = await open(device);
    const { config, weights } = model;
    const { last, activations = {} } = decoderHidden(config, weights, {
      ...inputs,
      inspect: { keep: points },
    });
    const plain = decoderHidden(config, weights, inputs);
    expect(relativeError(await last.data(), await plain.last.data())).toBeLessThan(tolerance);
    const [B = 0, T = 0] = inputs.ids.shape;
    const { numHeads: H, numKvHeads: G, headDim: D, modelDim: E, numLayers: L } = config;
    const shapes = {
      residual: [B, T, E],
      query: [B, H, T, D],
      key: [B, G, T, D],
      value: [B, G, T, D],
      pattern: [B, H, T, T],
      heads: [B, H, T, D],
      attention: [B, T, E],
      mlp: [B, T, E],
    };
    for (const point of points) {
      expect(activations[point]?.length).toBe(point === "residual" ? L + 1 : L);
      for (const x of activations[point] ?? []) expect(x.shape).toEqual(shapes[point]);
    }
    // The stream is the sum of what was added to it.
    const [first, second] = activations.residual ?? [];
    const [added, fed] = [activations.attention?.[0], activations.mlp?.[0]];
    if (!first || !second || !added || !fed) throw new Error("nothing was kept");
    const sum = scope(device, () => first.add(added).add(fed));
    expect(relativeError(await sum.data(), await second.data())).toBeLessThan(tolerance);
    sum.dispose();
    // The stream before each layer is what Hugging Face calls hidden states.
    const states = golden["basic.hidden_states"];
    const size = T * E;
    for (let layer = 0; layer < L; layer++) {
      const row = ((await activations.residual?.[layer]?.data()) ?? new Float32Array(0)).subarray(0, size);
      const wanted = states?.data.subarray(layer * size, (layer + 1) * size) ?? [];
      expect(relativeError(row, wanted)).toBeLessThan(tolerance);
    }
    disposeTree([last, plain, activations]);
    inputs.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test.each(["llama", "gpt2"])(
    "patterns of %s are the softmax of query and key, row by row",
    async (name) => {
      const device = make();
      const { model, inputs } = await open(device, name);
      const { config, weights } = model;
      const inspect = { keep: ["query", "key", "pattern"] as const };
      const kept = decoderHidden(config, weights, { ...inputs, inspect });
      const patterns = kept.activations?.pattern ?? [];
      expect(patterns.length).toBe(config.numLayers);
      const [q = [], k = [], p = []] = await Promise.all(
        [kept.activations?.query?.[1], kept.activations?.key?.[1], patterns[1]].map(
          async (x) => (await x?.data()) ?? [],
        ),
      );
      const { numHeads: H, numKvHeads: G, headDim: D, attention } = config;
      const [B = 0, T = 0] = inputs.ids.shape;
      let worst = 0;
      for (let bh = 0; bh < B * H; bh++) {
        const kv = Math.floor(bh / H) * G + Math.floor(((bh % H) * G) / H);
        for (let i = 0; i < T; i++) {
          const scores = Array.from({ length: i + 1 }, (_, j) => {
            let dot = 0;
            for (let d = 0; d < D; d++)
              dot += (q[(bh * T + i) * D + d] ?? 0) * (k[(kv * T + j) * D + d] ?? 0);
            return Math.exp(dot * attention.scale);
          });
          const total = scores.reduce((a, b) => a + b, 0);
          for (let j = 0; j < T; j++) {
            const wanted = j <= i ? (scores[j] ?? 0) / total : 0;
            worst = Math.max(worst, Math.abs((p[(bh * T + i) * T + j] ?? Number.NaN) - wanted));
          }
        }
      }
      expect(worst).toBeLessThan(tolerance);
      disposeTree(kept);
      inputs.dispose();
      model.dispose();
      expect(device.memory().buffers).toBe(0);
      device.dispose();
    },
  );

  test("the logit lens ends with the model's own logits", async () => {
    const device = make();
    const { model, golden, inputs } = await open(device);
    const lens = logitLens(model.config, model.weights, inputs);
    expect(lens.length).toBe(model.config.numLayers + 1);
    const logits = golden["basic.logits"];
    expect(relativeError((await lens.at(-1)?.data()) ?? [], logits?.data ?? [])).toBeLessThan(tolerance);
    expect(relativeError((await lens[0]?.data()) ?? [], logits?.data ?? [])).toBeGreaterThan(0.01);
    disposeTree(lens);
    inputs.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
});

test("only the layers that are named are looked into", async () => {
  const device = cpu({ threads: 1 });
  const { model, inputs } = await open(device);
  const { numLayers } = model.config;
  const inspect = { keep: ["residual", "pattern", "mlp"], layers: [1, numLayers] } as const;
  const one = decoderHidden(model.config, model.weights, { ...inputs, inspect });
  const all = decoderHidden(model.config, model.weights, { ...inputs, inspect: { keep: inspect.keep } });
  const { residual = [], pattern = [], mlp = [] } = one.activations ?? {};
  expect([residual.length, pattern.length, mlp.length]).toEqual([2, 1, 1]);
  const wanted = [all.activations?.residual?.[numLayers], all.activations?.pattern?.[1]];
  for (const [at, found] of [residual[1], pattern[0]].entries())
    expect(relativeError((await found?.data()) ?? [], (await wanted[at]?.data()) ?? [])).toBeLessThan(1e-5);
  disposeTree([one, all]);
  inputs.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

const [, fast] = devices;

test("values can be replaced: a layer of zeros is a layer left out, a pattern of zeros attention left out", async () => {
  const device = (fast ?? devices[0])?.make();
  if (device === undefined) throw new Error("there is a device");
  const { model, inputs } = await open(device);
  const { config, weights } = model;
  const zeros = (x: Tensor) => x.mul(0);
  const only = (layer: number) => (x: Tensor, at: number) => (at === layer ? zeros(x) : undefined);
  const run = async (inspect?: Inspection, layers = weights.layers) => {
    using logits = decoderLogits(config, { ...weights, layers }, { ...inputs, inspect });
    return await logits.data();
  };
  const without = await run(undefined, weights.layers.slice(0, 1));
  const skipped = await run({ replace: { attention: only(1), mlp: only(1) } });
  expect(relativeError(skipped, without)).toBeLessThan(1e-5);
  const unattended = await run({ replace: { attention: zeros } });
  for (const point of ["pattern", "heads", "value"] as const)
    expect(relativeError(await run({ replace: { [point]: zeros } }), unattended)).toBeLessThan(1e-5);
  // A stream taken from another run gives that run's logits: activation patching.
  const other = decoderHidden(config, weights, { ...inputs, keepLayers: true });
  const patched = await run({
    replace: { residual: (x, at) => (at === 0 ? x.add(1) : at === 1 ? other.layers[1]?.mul(1) : undefined) },
  });
  expect(relativeError(patched, await run())).toBeLessThan(1e-5);
  disposeTree(other);
  inputs.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

test("a pass without an inspection launches what it would launch if there were none", async () => {
  const device = (fast ?? devices[0])?.make();
  if (device === undefined) throw new Error("there is a device");
  const { model, inputs } = await open(device);
  const launchesOf = (inspect: Inspection | undefined) => {
    const run = compile((weights: DecoderWeights, ids: Tensor) => {
      const { last, activations } = decoderHidden(model.config, weights, { ids, inspect });
      return { last, activations };
    });
    const result = run(model.weights, inputs.ids);
    const launches = run.plans().map((plan) => plan.launches.map(({ name }) => name));
    disposeTree(result);
    run.dispose();
    return launches;
  };
  const plain = launchesOf(undefined);
  expect(plain[0]?.length).toBeGreaterThan(5);
  expect(launchesOf({})).toEqual(plain);
  expect(launchesOf({ replace: { mlp: () => undefined } })).toEqual(plain);
  expect(launchesOf({ keep: ["pattern"] })[0]?.length).toBeGreaterThan(plain[0]?.length ?? 0);
  inputs.dispose();
  model.dispose();
  device.dispose();
});

test("encoders are looked into in the same way", async () => {
  for (const name of ["bert", "deberta_v2", "albert"]) {
    const device = (fast ?? devices[0])?.make();
    if (device === undefined) throw new Error("there is a device");
    const model = await loadModelOf(encoder, packedSource(name), { device });
    const golden = packedExpected(name);
    const inputs = encoderInputs(model, {
      ids: packedRows(golden, "padded.input_ids"),
      attentionMask: packedRows(golden, "padded.attention_mask"),
    });
    const plain = encoderHidden(model.config, model.weights, inputs);
    const seen = encoderHidden(model.config, model.weights, {
      ...inputs,
      inspect: { keep: ["pattern", "residual"] },
    });
    expect(relativeError(await seen.last.data(), await plain.last.data())).toBeLessThan(1e-4);
    for (const pattern of seen.activations?.pattern ?? []) {
      using sums = pattern.sum({ axes: -1 });
      for (const sum of await sums.data()) expect(sum).toBeCloseTo(1, 5);
    }
    expect(seen.activations?.pattern?.length).toBe(model.config.numLayers);
    disposeTree([plain, seen]);
    inputs.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  }
});
