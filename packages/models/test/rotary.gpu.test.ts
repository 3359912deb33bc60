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
}
