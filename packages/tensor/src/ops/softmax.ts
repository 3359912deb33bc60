import {
  logSoftmaxGradKernel,
  logSoftmaxKernel,
  softmaxGradKernel,
  softmaxKernel,
} from "../cpu/kernels/softmax.js";
import { isFloat } from "../dtype.js";
import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import { scope } from "../scope.js";
import { formatType, normalizeAxis, type TensorType } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { softmaxGradWgsl, softmaxWgsl } from "../wgsl/kernels/rows.js";
import { onRows } from "./kernel-shapes.js";
import { widened } from "./widen.js";

type None = Readonly<Record<never, never>>;
export const noParams: None = {};

function floatType(caller: string, x: TensorType | undefined): TensorType[] {
  if (!x || !isFloat(x.dtype) || x.shape.length === 0) {
    throw new HeddleError(
      "dtype",
      `${caller}: a float tensor of rank 1 or more is needed; got ${x && formatType(x)}. Convert it with \`.cast("f32")\`.`,
      { dtype: x?.dtype, shape: x?.shape },
    );
  }
  return [{ shape: x.shape, dtype: x.dtype }];
}

/** Softmax over the last axis. */
export const softmaxOp: Op<None> = defineOp({
  name: "softmax",
  infer: ([x]) => floatType("softmax", x),
  reference: ([x]) =>
    widened(x, (wide) => {
      const exp = wide.sub(wide.max({ axes: -1, keepDims: true })).exp();
      return exp.div(exp.sum({ axes: -1, keepDims: true }));
    }),
  vjp: ({ outputs: [y], grads: [g] }) => [y && g && softmaxGradOp.call([y, g], noParams)],
  kernels: { wasm: onRows(softmaxKernel), wgsl: ({ inputs: [x] }) => x && softmaxWgsl(x, false) },
});

/** dx = y (g - sum(g y)). */
export const softmaxGradOp: Op<None> = defineOp({
  name: "softmaxGrad",
  infer: ([y]) => floatType("softmaxGrad", y),
  reference: ([y, g]) => (y && g ? [y.mul(g.sub(g.mul(y).sum({ axes: -1, keepDims: true })))] : []),
  kernels: { wasm: onRows(softmaxGradKernel), wgsl: ({ inputs: [y] }) => y && softmaxGradWgsl(y, false) },
});

/** Logarithm of softmax over the last axis, without computing the softmax. */
export const logSoftmaxOp: Op<None> = defineOp({
  name: "logSoftmax",
  infer: ([x]) => floatType("logSoftmax", x),
  reference: ([x]) =>
    widened(x, (wide) => {
      const shifted = wide.sub(wide.max({ axes: -1, keepDims: true }));
      return shifted.sub(shifted.exp().sum({ axes: -1, keepDims: true }).log());
    }),
  vjp: ({ outputs: [y], grads: [g] }) => [y && g && logSoftmaxGradOp.call([y, g], noParams)],
  kernels: { wasm: onRows(logSoftmaxKernel), wgsl: ({ inputs: [x] }) => x && softmaxWgsl(x, true) },
});

/** dx = g - softmax(x) sum(g), with softmax(x) = exp(y). */
export const logSoftmaxGradOp: Op<None> = defineOp({
  name: "logSoftmaxGrad",
  infer: ([y]) => floatType("logSoftmaxGrad", y),
  reference: ([y, g]) => (y && g ? [g.sub(y.exp().mul(g.sum({ axes: -1, keepDims: true })))] : []),
  kernels: { wasm: onRows(logSoftmaxGradKernel), wgsl: ({ inputs: [y] }) => y && softmaxGradWgsl(y, true) },
});

/** Applies an op of the last axis to another axis. */
export function alongAxis(caller: string, x: Tensor, axis: number, run: (x: Tensor) => Tensor): Tensor {
  const last = x.shape.length - 1;
  const normalized = normalizeAxis(caller, axis, x.shape.length);
  if (normalized === last) return run(x);
  const swap = x.shape.map((_, i) => (i === normalized ? last : i === last ? normalized : i));
  return scope(x.device, () => run(x.transpose(swap)).transpose(swap));
}

export interface AxisOption {
  /** Axis of the operation, negative from the end; default -1. */
  readonly axis?: number;
}

/**
 * Turns scores into probabilities along one axis: y = exp(x - max x) / sum exp(x - max x).
 *
 * Shapes: x [..] -> [..], a float. A row of -infinity gives NaN, as in PyTorch.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float of rank 1 or more, "shape" if the axis is out of range
 */
export function softmax(x: Tensor, options: AxisOption = {}): Tensor {
  return alongAxis("softmax", x, options.axis ?? -1, (rows) => softmaxOp.call([rows], noParams));
}

/**
 * Takes the logarithm of `softmax`, exact also where the softmax underflows: y = x - max x - log(sum exp(x - max x)).
 *
 * Shapes: x [..] -> [..], a float.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float of rank 1 or more, "shape" if the axis is out of range
 */
export function logSoftmax(x: Tensor, options: AxisOption = {}): Tensor {
  return alongAxis("logSoftmax", x, options.axis ?? -1, (rows) => logSoftmaxOp.call([rows], noParams));
}
