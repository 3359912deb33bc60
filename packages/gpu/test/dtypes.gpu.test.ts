import { afterAll, describe, test } from "vitest";
import { checkDTypeCase, dtypeSuites } from "../../tensor/test/dtypes.js";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`dtypes on WebGPU: ${reason}`);
else {
  describe.each(dtypeSuites)("$dtype is at most one rounding step from the reference", ({ dtype, cases }) => {
    test.each(cases)("$name", (example) => checkDTypeCase(device, example, dtype));
  });
}
