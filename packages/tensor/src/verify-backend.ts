import { randn, tensor } from "./create.js";
import type { Device } from "./device.js";
import { where } from "./functions.js";
import { tensorsOf, valueAndGrad } from "./grad/value-and-grad.js";
import { logsumexp } from "./ops/accumulate.js";
import { gelu, swiGLU } from "./ops/activation.js";
import { crossEntropy } from "./ops/loss.js";
import { matmul } from "./ops/matmul.js";
import { layerNorm, rmsNorm } from "./ops/norm.js";
import { take } from "./ops/select.js";
import { softmax } from "./ops/softmax.js";
import { reference } from "./reference/device.js";
import { scope } from "./scope.js";
import type { Tensor } from "./tensor.js";
import { disposeTree } from "./tree.js";

export interface BackendCheck {
  readonly name: string;
  /** What ran the op on the device: "wasm", "wgsl", "javascript", ... */
  readonly executedOn: string;
  /** Largest difference of value and gradient from float64, in units of 1 + |expected|. */
  readonly error: number;
  readonly passed: boolean;
}

const checks: Readonly<Record<string, (x: Tensor, w: Tensor) => Tensor>> = {
  matmul: (x, w) => matmul(x, w, { transposeB: true }),
  elementwise: (x, w) => gelu(x).mul(w.sigmoid()).add(x.exp()),
  where: (x, w) => where(x.greater(w), x.sin(), w.cos()),
  swiGLU: (x, w) => swiGLU(x, w),
  softmax: (x) => softmax(x),
  logsumexp: (x) => logsumexp(x, { axes: -1 }),
  reductions: (x) => x.max({ axes: 0 }).add(x.mean({ axes: 0 })),
  transpose: (x) => x.transpose(),
  rmsNorm: (x, w) => rmsNorm(x, w.narrow(0, 0, 1).reshape([-1])),
  layerNorm: (x, w) => layerNorm(x, { weight: w.narrow(0, 0, 1).reshape([-1]) }),
  take: (x) => take(x, tensor(x.device, new Int32Array([3, 0, 3]))),
  crossEntropy: (x) => crossEntropy(x, tensor(x.device, new Int32Array(x.shape[0] ?? 0).fill(2))),
};

/**
 * Compares a device with the float64 reference on a handful of ops, forward and backward: a self-test for a new machine,
 * browser or driver.
 *
 * @param options.tolerance  largest error that passes, in units of 1 + |expected|; default 1e-4
 * @returns one line for each op; frees all that it made
 */
export async function verifyBackend(
  device: Device,
  options: { readonly tolerance?: number } = {},
): Promise<BackendCheck[]> {
  const { tolerance = 1e-4 } = options;
  const results: BackendCheck[] = [];
  for (const [name, run] of Object.entries(checks)) {
    const expected = await evaluate(reference(), run);
    const actual = await evaluate(device, run);
    const error = actual.numbers.reduce((worst, value, i) => {
      const want = expected.numbers[i] ?? Number.NaN;
      const difference = Math.abs(value - want) / (1 + Math.abs(want));
      return Math.max(worst, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
    }, 0);
    results.push({ name, executedOn: actual.executedOn, error, passed: error <= tolerance });
  }
  return results;
}

async function evaluate(
  device: Device,
  run: (x: Tensor, w: Tensor) => Tensor,
): Promise<{ numbers: number[]; executedOn: string }> {
  using x = randn(device, [17, 19], { seed: 1 });
  using w = randn(device, [17, 19], { seed: 2 });
  const results = scope(device, () => {
    const loss = (p: { a: Tensor; b: Tensor }) => run(p.a, p.b).square().sum();
    return { direct: run(x, w), ...valueAndGrad(loss)({ a: x, b: w }) };
  });
  const { executedOn } = results.direct;
  const numbers: number[] = [];
  for (const result of tensorsOf(results)) numbers.push(...(await result.data()));
  disposeTree(results);
  return { numbers, executedOn };
}
