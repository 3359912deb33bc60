import { scope } from "../scope.js";
import { normalizeAxis } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { whereOp } from "./elementwise.js";
import { cumsumOp, type ReduceOptions } from "./reduce.js";
import type { AxisOption } from "./softmax.js";

/** log(sum(exp x)) over `axes` (default: all) without overflow. Shapes as in `sum`. */
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

/** Running sum along one axis (default the last). Shapes: x [..] -> [..]. */
export function cumsum(x: Tensor, options: AxisOption = {}): Tensor {
  return cumsumOp.call([x], { axis: normalizeAxis("cumsum", options.axis ?? -1, x.rank), reverse: false });
}
