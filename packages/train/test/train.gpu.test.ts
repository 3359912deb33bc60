import { afterAll, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { expectFirstGradients, givenLabelRuns } from "./given-label-runs.js";
import { describeTrainingRuns } from "./training-runs.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`training on WebGPU: ${reason}`);
else {
  // Op by op, the same numbers come out; the conformance suite shows it faster.
  describeTrainingRuns("webgpu", (run) => run(device), { modes: ["compiled"] });

  test.each(givenLabelRuns)("first gradients of %s are the golden ones", async (name) => {
    await expectFirstGradients(name, device);
  });
}
