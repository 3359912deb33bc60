import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { matrixAttention } from "./matrix-attention.js";
import { matrixPrompts } from "./matrix-prompts.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`attention on emulated matrix units: ${reason}`);
else {
  describe("attention by 16 x 16 matrices, emulated", () => {
    test.each([...matrixAttention, ...matrixPrompts])("$name", async ({ error }) => {
      const before = device.memory().buffers;
      expect(await error(device, "emulated")).toBeLessThanOrEqual(1);
      expect(device.memory().buffers).toBe(before);
    });
  });
}
