import { reference } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { conformanceCases, largestDifference, outcomeOf } from "../../tensor/test/conformance.js";
import { findDevice } from "./find-device.js";

/** Largest difference from the float64 reference, in units of 1 + |expected|. */
const tolerance = 1e-4;

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`conformance on WebGPU: ${reason}`);
else {
  describe.each(["eager", "compiled"] as const)("%s", (mode) => {
    test.each(conformanceCases)("$name", async (example) => {
      const expected = await outcomeOf(reference(), example, "eager");
      const actual = await outcomeOf(device, example, mode);
      expect(actual.shape).toEqual(expected.shape);
      expect(largestDifference(actual.value, expected.value)).toBeLessThanOrEqual(tolerance);
      for (const [i, grad] of actual.grads.entries()) {
        expect(largestDifference(grad, expected.grads[i] ?? [])).toBeLessThanOrEqual(tolerance);
      }
    });
  });
}
