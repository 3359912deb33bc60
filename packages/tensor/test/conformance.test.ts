import { describe, expect, test } from "vitest";
import { reference } from "../src/index.js";
import { conformanceCases, finiteDifferences, largestDifference, outcomeOf } from "./conformance.js";
import { testDevices } from "./devices.js";

/** Larger cases are left to the comparison of devices: two runs of the op per element would take too long here. */
const small = conformanceCases.filter(({ shapes }) =>
  shapes.every((shape) => shape.reduce((n, m) => n * m, 1) <= 100),
);

describe("gradients equal finite differences in float64", () => {
  for (const example of small.filter(({ differentiable }) => differentiable !== false)) {
    test(example.name, async () => {
      const device = reference();
      const { grads } = await outcomeOf(device, example, "eager");
      const expected = await finiteDifferences(device, example);
      for (const [i, grad] of grads.entries())
        expect(largestDifference(grad, expected[i] ?? [])).toBeLessThan(2e-7);
    });
  }
});

describe.each(testDevices)("$name agrees with the reference", ({ conformance: tolerance, make }) => {
  for (const mode of ["eager", "compiled"] as const) {
    for (const example of conformanceCases) {
      test(`${example.name}, ${mode}`, async () => {
        const device = make();
        const expected = await outcomeOf(reference(), example, "eager");
        const actual = await outcomeOf(device, example, mode);
        expect(actual.shape).toEqual(expected.shape);
        expect(largestDifference(actual.value, expected.value)).toBeLessThanOrEqual(tolerance);
        for (const [i, grad] of actual.grads.entries()) {
          expect(largestDifference(grad, expected.grads[i] ?? [])).toBeLessThanOrEqual(tolerance);
        }
        device.dispose();
      });
    }
  }
});
