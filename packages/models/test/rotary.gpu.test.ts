import { ropeFrequencies, rotary } from "@heddle/positional-encodings";
import { type Device, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`rotary encoding on WebGPU: ${reason}`);
else {
  test.each([
    { layout: "half", rotaryDim: 32, positions: undefined },
    { layout: "interleaved", rotaryDim: 32, positions: [0, 7, 100_000, 1_000_000, 3, 2, 1] },
    { layout: "half", rotaryDim: 20, positions: [5, 131_071, 9, 1, 0, 65_537, 999_983] },
    { layout: "half", rotaryDim: 32, positions: [-1, -100_000, 0, 1, 2, 3, 4] },
  ] as const)(
    "$layout, $rotaryDim features, positions $positions: values and gradients of float64",
    async (options) => {
      const { layout, rotaryDim, positions } = options;
      const run = async (on: Device) => {
        const x = randn(on, [2, 3, 7, 32], { seed: 1, dtype: "f32" }).cast(on.defaultFloat);
        const g = randn(on, [2, 3, 7, 32], { seed: 2, dtype: "f32" }).cast(on.defaultFloat);
        const at = positions && tensor(on, Int32Array.from(positions));
        const turned = (input: Tensor) =>
          rotary(input, {
            layout,
            frequencies: ropeFrequencies({ rotaryDim }),
            ...(at && { positions: at }),
          });
        const { grad } = valueAndGrad((input: Tensor) => turned(input).mul(g).sum())(x);
        const y = turned(x);
        return { executedOn: y.executedOn, numbers: [...(await y.data()), ...(await grad.data())] };
      };
      const [actual, expected] = [await run(device), await run(reference())];
      expect(actual.executedOn).toBe("wgsl");
      for (const [i, value] of actual.numbers.entries()) {
        expect(Math.abs(value - (expected.numbers[i] ?? Number.NaN))).toBeLessThan(2e-6);
      }
    },
  );

  test.each(["f16", "bf16"] as const)("whole vectors of %s", async (dtype) => {
    for (const [layout, width, rotaryDim] of [
      ["half", 32, 32],
      ["half", 40, 16],
      ["interleaved", 24, 8],
      ["half", 24, 24],
      ["interleaved", 12, 4],
    ] as const) {
      const run = (on: Device, as: "f16" | "bf16" | "f64") => {
        const x = randn(reference(), [2, 3, 5, width], { seed: 1 }).cast(dtype).cast("f64");
        return x.data().then((values) => {
          const input = tensor(on, Float64Array.from(values), { shape: [2, 3, 5, width], dtype: as });
          const positions = tensor(
            on,
            Int32Array.from({ length: 10 }, (_, i) => i * i - 3),
            { shape: [2, 5] },
          );
          return rotary(input, { layout, positions, frequencies: ropeFrequencies({ rotaryDim }) }).data();
        });
      };
      const [actual, expected] = [await run(device, dtype), await run(reference(), "f64")];
      // One rounding, beside that of the angles.
      const step = dtype === "f16" ? 2 ** -11 : 2 ** -8;
      for (const [i, value] of [...expected].entries())
        expect(Math.abs(Number(actual[i]) - Number(value))).toBeLessThan(
          step * 1.01 * Math.abs(Number(value)) + 2e-6,
        );
    }
  });
}
