import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { matrixWeights } from "./matrix-weights.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`quantised weights on emulated matrix units: ${reason}`);
else {
  describe("quantised weights by 16 x 16 matrices, emulated", () => {
    test.each(matrixWeights)("$name", async ({ error }) => {
      const before = device.memory().buffers;
      expect(await error(device, "emulated")).toBeLessThanOrEqual(1);
      expect(device.memory().buffers).toBe(before);
    });
  });
}
