import { afterAll, describe, expect, test } from "vitest";
import { matrixProducts } from "../../tensor/test/matrix-products.js";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`matrix units, emulated, on WebGPU: ${reason}`);
else {
  describe("products by 16 x 16 matrices, emulated", () => {
    test.each(matrixProducts)("$name", async ({ error }) => {
      const before = device.memory().buffers;
      expect(await error(device, "emulated")).toBeLessThanOrEqual(1);
      expect(device.memory().buffers).toBe(before);
    });
  });
}
