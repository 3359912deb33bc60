import { reference, tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { describeTrainingRuns } from "../test/training-runs.js";
import type { TokenBatch } from "./objective.js";
import { adamW } from "./optimizers/adamw.js";
import { createTrainingStep } from "./training-step.js";

for (const [name, make] of devices) {
  describeTrainingRuns(name, async (run) => {
    const device = make();
    await run(device);
    device.dispose();
  });
}

test("another number of batches than configured is refused", () => {
  const device = reference();
  const weights = { w: zeros(device, [2]) };
  const step = createTrainingStep<typeof weights, TokenBatch>({
    objective: () => ({ total: zeros(device, []), count: zeros(device, []) }),
    optimizer: adamW(),
    microBatches: 2,
  });
  const state = step.init(weights);
  const learningRate = tensor(device, 0.1);
  expect(() => step.run(state, [], { learningRate, keys: [] })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: TrainingStep.run: a step takes 2 batches and as many keys; got 0 batches, 0 keys. Set microBatches.]`,
  );
});
