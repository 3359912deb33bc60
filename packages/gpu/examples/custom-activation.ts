import { defineKernel, type GpuJsModule, type KernelContext } from "@heddle/gpu";
import { compile, type Device, randn, scope, type Tensor, valueAndGrad, writeInto } from "@heddle/tensor";

/** Trains a small network whose activation is a JavaScript function; returns its loss before and after, and what ran it. */
export async function trainWithCustomActivation(device: Device, gpuJs?: GpuJsModule) {
  const slope = await defineKernel({
    name: "squareplusSlope", // (1 + x / sqrt(x^2 + b)) / 2, times the gradient from above
    source(this: KernelContext, x: number[], grad: number[], b: number) {
      const v = x[this.thread.x] as number;
      return 0.5 * (1 + v / Math.sqrt(v * v + b)) * (grad[this.thread.x] as number);
    },
    flat: true,
    ...(gpuJs && { gpuJs }),
  });
  const squareplus = await defineKernel({
    name: "squareplus", // (x + sqrt(x^2 + b)) / 2
    source(this: KernelContext, x: number[], b: number) {
      const v = x[this.thread.x] as number;
      return 0.5 * (v + Math.sqrt(v * v + b));
    },
    flat: true,
    vjp: ({ inputs: [x], numbers: [b = 1], grad }) => [x && slope(x, grad, b)],
    ...(gpuJs && { gpuJs }),
  });

  const x = randn(device, [64, 8], { seed: 1 });
  const y = x.square().sum({ axes: 1, keepDims: true });
  const weights = {
    first: randn(device, [8, 16], { seed: 2 }).mul(0.3),
    second: randn(device, [16, 1], { seed: 3 }).mul(0.3),
  };
  const step = compile((p: typeof weights, input: Tensor, target: Tensor) => {
    const loss = (q: typeof weights) =>
      squareplus(input.matmul(q.first), 4).matmul(q.second).sub(target).square().mean();
    const { value, grad } = valueAndGrad(loss)(p);
    writeInto(p.first, p.first.sub(grad.first.mul(0.005)));
    writeInto(p.second, p.second.sub(grad.second.mul(0.005)));
    return value;
  });
  const first = await step(weights, x, y).item();
  for (let i = 0; i < 60; i++) step(weights, x, y).dispose();
  const last = await step(weights, x, y).item();
  const executedOn = scope(device, () => squareplus(x, 4).executedOn);
  return { first, last, executedOn };
}
