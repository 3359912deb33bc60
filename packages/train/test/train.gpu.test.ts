import { webgpu } from "@heddle/gpu";
import { afterAll, test } from "vitest";
import { expectFirstGradients, givenLabelRuns } from "./given-label-runs.js";
import { describeTrainingRuns } from "./training-runs.js";

const found = await webgpu().then(
  (device) => ({ device, reason: "" }),
  (error: unknown) => ({ device: undefined, reason: String(error) }),
);
const { device } = found;
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`training on WebGPU: ${found.reason}`);
else {
  // Op by op, the same numbers come out; the conformance suite shows it faster.
  describeTrainingRuns("webgpu", (run) => run(device), { modes: ["compiled"] });

  test.each(givenLabelRuns)("first gradients of %s are the golden ones", async (name) => {
    await expectFirstGradients(name, device);
  });
}
