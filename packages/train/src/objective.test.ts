import { disposeTree, randomKey, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import {
  batchAt,
  byStoredName,
  expectFirstGradients,
  givenLabelRuns,
  openRun,
} from "../test/given-label-runs.js";
import { readGolden, readGoldenJson } from "../test/golden/read.js";
import { adamW } from "./optimizers/adamw.js";
import { createTrainingStep, disposeState } from "./training-step.js";

interface RunJson {
  readonly hyper: {
    readonly steps: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly max_grad_norm: number;
    readonly distinct_batches: number;
  };
  readonly final_weights: Readonly<
    Record<string, { readonly l2: number; readonly first: readonly number[] }>
  >;
}

describe.each(givenLabelRuns)("%s", (name) => {
  const golden = readGolden(`training/${name}/run.safetensors.gz`);
  const { hyper, final_weights } = readGoldenJson<RunJson>(`training/${name}/run.json`);

  test.each(devices)("first gradients on %s are the golden ones", async (_, make) => {
    const device = make();
    await expectFirstGradients(name, device);
    device.dispose();
  });

  test.each(devices)("loss curve and final weights on %s", { timeout: 300_000 }, async (_, make) => {
    const device = make();
    const { model, objective } = await openRun(name, device);
    const step = createTrainingStep({
      objective,
      optimizer: adamW({
        betas: hyper.betas,
        eps: hyper.eps,
        weightDecay: hyper.weight_decay,
      }),
      clipNorm: hyper.max_grad_norm,
    });
    const state = step.init(model.weights);
    for (let at = 0; at < hyper.steps; at++) {
      const batch = batchAt(device, golden, at % hyper.distinct_batches);
      const keys = [randomKey(device, 0)];
      const learningRate = tensor(device, golden.get("lr").data[at] ?? 0);
      step.run(state, [batch], { learningRate, keys });
      const lossError = (await state.metrics.loss.item()) - (golden.get("loss").data[at] ?? Number.NaN);
      expect(Math.abs(lossError), `loss of step ${at}`).toBeLessThanOrEqual(1e-4);
      const norm = (await state.metrics.gradNorm.item()) / (golden.get("grad_norm").data[at] ?? Number.NaN);
      expect(Math.abs(norm - 1), `norm ${at}`).toBeLessThanOrEqual(1e-3);
      disposeTree([batch, keys, learningRate]);
    }
    const trained = await byStoredName(model, model.weights);
    for (const [stored, { l2, first }] of Object.entries(final_weights)) {
      const values = trained[stored];
      if (values === undefined) continue; // a tied copy is not stored
      for (const [i, value] of first.entries())
        expect(Math.abs((values[i] ?? Number.NaN) - value), `${stored}[${i}]`).toBeLessThanOrEqual(1e-3);
      const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      expect(Math.abs(length - l2), stored).toBeLessThanOrEqual(1e-3 * Math.max(1, l2));
    }
    expect(Object.keys(final_weights)).toEqual(expect.arrayContaining(Object.keys(trained)));
    disposeState(state);
    step.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
});
