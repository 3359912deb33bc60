import { webgpu } from "@heddle/gpu";
import { afterAll, test } from "vitest";
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
}
