import { scope } from "../scope.js";
import { normalizeAxis } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { gatherOp, scatterAddOp, takeOp, topKOp } from "./indexing.js";
import type { AxisOption } from "./softmax.js";

/**
 * Slices of x named by `indices` along one axis (default 0).
 *
 * Shapes: x [A.., n, B..], indices [I..] i32 -> [A.., I.., B..]. An index outside 0..n-1 gives zeros.
 */
export function take(x: Tensor, indices: Tensor, options: AxisOption = {}): Tensor {
  return takeOp.call([x, indices], { axis: normalizeAxis("take", options.axis ?? 0, x.rank) });
}

/** One element of x per index, as torch.gather: for axis 0, y[i][j] = x[indices[i][j]][j]. Shapes: indices [..] -> [..]. */
export function gather(x: Tensor, indices: Tensor, options: AxisOption = {}): Tensor {
  return gatherOp.call([x, indices], { axis: normalizeAxis("gather", options.axis ?? -1, x.rank) });
}

/** x plus each update at the place that its index names, as torch.scatter_add; repeated indices add up. */
export function scatterAdd(x: Tensor, indices: Tensor, updates: Tensor, options: AxisOption = {}): Tensor {
  return scatterAddOp.call([x, indices, updates], {
    axis: normalizeAxis("scatterAdd", options.axis ?? -1, x.rank),
  });
}

export interface Ranked {
  readonly values: Tensor;
  /** i32 positions along the axis. */
  readonly indices: Tensor;
}

/** The k largest (or smallest) elements of one axis (default the last) in order. Equal values keep their order. */
export function topK(
  x: Tensor,
  k: number,
  options: AxisOption & { readonly largest?: boolean } = {},
): Ranked {
  return scope(x.device, () => {
    const largest = options.largest ?? true;
    const axis = normalizeAxis("topK", options.axis ?? -1, x.rank);
    const last = axis === x.rank - 1;
    const swap = x.shape.map((_, i) => (i === axis ? x.rank - 1 : i === x.rank - 1 ? axis : i));
    const [values, indices] = topKOp.apply([last ? x : x.transpose(swap)], { k, largest }) as [
      Tensor,
      Tensor,
    ];
    return last ? { values, indices } : { values: values.transpose(swap), indices: indices.transpose(swap) };
  });
}

/** All elements of one axis (default the last) in ascending or descending order; stable. */
export function sort(x: Tensor, options: AxisOption & { readonly descending?: boolean } = {}): Ranked {
  const axis = normalizeAxis("sort", options.axis ?? -1, x.rank);
  return topK(x, x.shape[axis] ?? 0, { axis, largest: options.descending ?? false });
}
