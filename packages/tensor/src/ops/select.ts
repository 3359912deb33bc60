import { scope } from "../scope.js";
import { normalizeAxis } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { gatherOp, scatterAddOp, takeOp, topKOp } from "./indexing.js";
import type { AxisOption } from "./softmax.js";

/**
 * Picks slices of x by `indices` along one axis (default 0).
 *
 * Shapes: x [A.., n, B..], indices [I..] i32 or u32 -> [A.., I.., B..]. An index outside 0..n-1 gives zeros.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if the indices are not i32 or u32, "shape" if the axis is out of range
 */
export function take(x: Tensor, indices: Tensor, options: AxisOption = {}): Tensor {
  return takeOp.call([x, indices], { axis: normalizeAxis("take", options.axis ?? 0, x.rank) });
}

/**
 * Picks one element of x per index along one axis (default -1): for axis 0, y[i][j] = x[indices[i][j]][j].
 *
 * Shapes: x [..], indices i32 or u32 of its rank, off the axis no larger than x -> the shape of the indices. An index out
 * of range gives 0.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if the indices are not i32 or u32, "shape" if they do not fit
 * Same as torch.gather.
 */
export function gather(x: Tensor, indices: Tensor, options: AxisOption = {}): Tensor {
  return gatherOp.call([x, indices], { axis: normalizeAxis("gather", options.axis ?? -1, x.rank) });
}

/**
 * Adds each update to the element of x that its index names along one axis (default -1); repeated indices add up.
 *
 * Shapes: x [..], indices i32 or u32 of its rank, off the axis no larger than x, updates like the indices -> x's shape. An
 * index out of range is ignored.
 * @returns a new tensor that the caller owns; x stays as it is
 * @throws HeddleError "dtype" if the indices are not i32 or u32, "shape" if indices or updates do not fit
 * Same as torch.scatter_add.
 */
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

/**
 * Finds the k largest (or smallest) elements of one axis (default -1) in order. Equal values keep their order.
 *
 * Shapes: x [.., n, ..] -> values and i32 indices [.., k, ..].
 * @param options.largest  false for the smallest; default true
 * @returns two new tensors that the caller owns; gradients flow to the values
 * @throws HeddleError "shape" if k is not a whole number in 0..n
 */
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

/**
 * Sorts the elements of one axis (default -1), ascending; stable.
 *
 * Shapes: x [.., n, ..] -> values and i32 indices [.., n, ..].
 * @param options.descending  default false
 * @returns two new tensors that the caller owns; gradients flow to the values
 * @throws HeddleError "shape" if the axis is out of range
 */
export function sort(x: Tensor, options: AxisOption & { readonly descending?: boolean } = {}): Ranked {
  const axis = normalizeAxis("sort", options.axis ?? -1, x.rank);
  return topK(x, x.shape[axis] ?? 0, { axis, largest: options.descending ?? false });
}
