import { scope } from "../scope.js";
import { normalizeAxis } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { whereOp } from "./elementwise.js";
import { cumsumOp, type ReduceOptions } from "./reduce.js";
import type { AxisOption } from "./softmax.js";

/**
 * Computes log(sum(exp x)) over `axes` (default: all) without overflow.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`. A row of -infinity gives -infinity.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is not a float
 */
export function logsumexp(x: Tensor, options: ReduceOptions = {}): Tensor {
  return scope(x.device, () => {
    const top = x.detach().max({ ...options, keepDims: true });
    // A row of -infinity stays -infinity: subtract 0 there instead of -infinity.
    const shift = whereOp(top.abs().equal(Number.POSITIVE_INFINITY), 0, top);
    const kept = x
      .sub(shift)
      .exp()
      .sum({ ...options, keepDims: true })
      .log()
      .add(shift);
    return options.keepDims ? kept : kept.reshape(x.sum(options).shape);
  });
}

/**
 * Running sum along one axis (default -1): y_i = x_0 + .. + x_i.
 *
 * Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the axis is out of range
 */
export function cumsum(x: Tensor, options: AxisOption = {}): Tensor {
  return cumsumOp.call([x], { axis: normalizeAxis("cumsum", options.axis ?? -1, x.rank), reverse: false });
}
