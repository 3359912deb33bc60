import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { matrixGroups } from "./matrix-groups.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`joined products on matrix units, emulated, on WebGPU: ${reason}`);
else {
  describe("products joined on matrix units, emulated", () => {
    test.each(matrixGroups)("$name", async ({ error, launches, ran }) => {
      const before = device.memory().buffers;
      expect(await error(device, "emulated")).toBeLessThanOrEqual(1);
      expect(ran()).toEqual(launches);
      expect(device.memory().buffers).toBe(before);
    });
  });
}
