import { describe, expect, test } from "vitest";
import { compile, matmul, randn, type Tensor } from "../src/index.js";
import { testDevices } from "./devices.js";
import { checkDTypeCase, dtypeSuites } from "./dtypes.js";

describe.each(testDevices.filter(({ name }) => name !== "reference"))("$name", ({ make }) => {
  describe.each(dtypeSuites)("$dtype is at most one rounding step from the reference", ({ dtype, cases }) => {
    test.each(cases)("$name", async (example) => {
      const device = make();
      await checkDTypeCase(device, example, dtype);
      device.dispose();
    });
  });

  test("half-precision products are one kernel", () => {
    const device = make();
    for (const dtype of ["f16", "bf16"] as const) {
      const [a, b] = [randn(device, [9, 8], { seed: 1, dtype }), randn(device, [8, 7], { seed: 2, dtype })];
      const half = compile((x: Tensor, y: Tensor) => matmul(x, y));
      const mixed = compile((x: Tensor, y: Tensor) => matmul(x, y));
      half(a, b);
      mixed(a.cast("f32"), b);
      for (const plan of [...half.plans(), ...mixed.plans()]) {
        expect(plan.launches.map(({ name }) => name)).toEqual(["matmul"]);
      }
    }
    device.dispose();
  });
});
