import { type Device, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { expect } from "vitest";
import type { GoldenArrays } from "../../../tooling/golden/safetensors.js";

/** Largest difference between two lists of one length. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce(
    (worst, value, i) => Math.max(worst, Math.abs(value - (b[i] ?? Number.NaN))),
    0,
  );
}

/** Finds arrays of a golden file as tensors of the device's float. */
export function goldenTensors(device: Device, arrays: GoldenArrays): (name: string) => Tensor {
  return (name) => {
    const { shape, data } = arrays.get(name);
    return tensor(device, Float64Array.from(data), { shape });
  };
}

/** Largest difference between the gradients of sum(f(inputs)^2) and central differences. For the float64 reference device. */
export function worstGradient(inputs: readonly Tensor[], f: (inputs: readonly Tensor[]) => Tensor): number {
  const loss = (tensors: readonly Tensor[]) => f(tensors).square().sum();
  const { grad } = valueAndGrad(loss)(inputs);
  let worst = 0;
  for (const [which, input] of inputs.entries()) {
    const at = Float64Array.from(input.dataSync());
    const slope = at.map((_, i) => {
      const moved = (delta: number) => {
        const values = at.map((value, j) => (i === j ? value + delta : value));
        const changed = tensor(input.device, values, { shape: input.shape });
        return loss(inputs.map((other, j) => (j === which ? changed : other))).dataSync()[0] ?? Number.NaN;
      };
      return (moved(1e-4) - moved(-1e-4)) / 2e-4;
    });
    worst = Math.max(worst, worstDifference(grad[which]?.dataSync() ?? [], slope));
  }
  return worst;
}
