import { randn, type Tensor, valueAndGrad } from "@heddle/tensor";
import { expect } from "vitest";

/**
 * Expects the gradient of a loss with respect to each named weight to equal, along a random direction, the central difference
 * of the loss. In float64: the weights lie on the reference device.
 */
export function expectSlopes<W extends Readonly<Record<string, Tensor>>>(
  loss: (weights: W) => Tensor,
  weights: W,
): void {
  const { grad } = valueAndGrad(loss)(weights);
  const step = 1e-5;
  for (const [name, weight] of Object.entries(weights)) {
    const direction = randn(weight.device, weight.shape, { seed: 99 });
    const moved = (sign: number) =>
      loss({ ...weights, [name]: weight.add(direction.mul(sign * step)) }).dataSync()[0] ?? Number.NaN;
    const slope = (moved(1) - moved(-1)) / (2 * step);
    const along = (grad as Readonly<Record<string, Tensor>>)[name]?.mul(direction).sum().dataSync()[0];
    expect(Math.abs((along ?? Number.NaN) - slope), name).toBeLessThan(1e-6 * Math.max(1, Math.abs(slope)));
  }
}
