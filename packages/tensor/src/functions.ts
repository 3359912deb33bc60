import { arange } from "./create.js";
import type { DType } from "./dtype.js";
import { HeddleError } from "./error.js";
import { elementwise, type TensorOrNumber, whereOp } from "./ops/elementwise.js";
import { gatherOp, scatterAddOp, takeOp, topKOp } from "./ops/indexing.js";
import { concatOp, padOp } from "./ops/movement.js";
import { cumsumOp, type ReduceOptions } from "./ops/reduce.js";
import type { AxisOption } from "./ops/softmax.js";
import { scope } from "./scope.js";
import { formatShape, formatType, normalizeAxis } from "./shape.js";
import type { Tensor } from "./tensor.js";

// The primitive ops as functions: `add(a, b)` is `a.add(b)`. Elementwise arguments broadcast as in NumPy.
export const add = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("add", a, b);
export const sub = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("sub", a, b);
export const mul = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("mul", a, b);
export const div = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("div", a, b);
export const pow = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("pow", a, b);
export const maximum = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("maximum", a, b);
export const minimum = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("minimum", a, b);
export const equal = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("equal", a, b);
export const notEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("notEqual", a, b);
export const less = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("less", a, b);
export const lessEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("lessEqual", a, b);
export const greater = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("greater", a, b);
export const greaterEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  elementwise("greaterEqual", a, b);

/** Picks from `a` where the bool condition holds, else from `b`; all three broadcast. */
export const where = (condition: Tensor, a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  whereOp(condition, a, b);

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

/** Joins tensors along one axis (default 0). They agree in dtype and in all other extents. */
export function concat(tensors: readonly Tensor[], options: AxisOption = {}): Tensor {
  return concatOp.call(tensors, { axis: normalizeAxis("concat", options.axis ?? 0, tensors[0]?.rank ?? 0) });
}

/** Joins tensors of one shape along a new axis (default 0). */
export function stack(tensors: readonly Tensor[], options: AxisOption = {}): Tensor {
  const axis = normalizeAxis("stack", options.axis ?? 0, (tensors[0]?.rank ?? 0) + 1);
  const join = () =>
    concat(
      tensors.map((x) => expandDims(x, axis)),
      { axis },
    );
  return tensors[0] ? scope(tensors[0].device, join) : join();
}

/** Cuts a tensor along one axis (default 0) into pieces of the given sizes, or into that many equal parts. */
export function split(x: Tensor, sizes: number | readonly number[], options: AxisOption = {}): Tensor[] {
  const axis = normalizeAxis("split", options.axis ?? 0, x.rank);
  const extent = x.shape[axis] ?? 0;
  const list = typeof sizes === "number" ? new Array<number>(sizes).fill(extent / sizes) : sizes;
  if (list.some((n) => !Number.isInteger(n) || n < 0) || list.reduce((sum, n) => sum + n, 0) !== extent) {
    throw new HeddleError(
      "shape",
      `split: sizes must be whole and add up to the axis' extent; got sizes [${list.join(", ")}] for extent ${extent} of ${formatType(x)}. Choose sizes that sum to ${extent}.`,
      { sizes: list, extent, axis },
    );
  }
  let start = 0;
  return list.map((size) => {
    start += size;
    return x.narrow(axis, start - size, start);
  });
}

/** Adds `[before, after]` elements of `value` (default 0) on each axis. */
export function pad(
  x: Tensor,
  amounts: readonly (readonly [number, number])[],
  options: { readonly value?: number } = {},
): Tensor {
  if (amounts.length !== x.rank || amounts.flat().some((n) => !Number.isInteger(n) || n < 0)) {
    throw new HeddleError(
      "shape",
      `pad: one pair of whole numbers >= 0 per axis is needed; got ${amounts.length} pairs for ${formatType(x)}. Use \`narrow\` to cut.`,
      { amounts, shape: x.shape },
    );
  }
  return padOp.call([x], {
    shape: x.shape.map((n, i) => n + (amounts[i]?.[0] ?? 0) + (amounts[i]?.[1] ?? 0)),
    starts: amounts.map(([before]) => before),
    steps: amounts.map(() => 1),
    value: options.value ?? 0,
  });
}

/** Inserts an axis of extent 1. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("expandDims", axis, x.rank + 1);
  return x.reshape([...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** Removes axes of extent 1: those named, or all. */
export function squeeze(x: Tensor, axes?: readonly number[]): Tensor {
  const named = axes?.map((axis) => normalizeAxis("squeeze", axis, x.rank));
  if (named?.some((axis) => x.shape[axis] !== 1)) {
    throw new HeddleError(
      "shape",
      `squeeze: only axes of extent 1 can be removed; got axes [${named.join(", ")}] of ${formatShape(x.shape)}. Reduce or reshape instead.`,
      { axes: named, shape: x.shape },
    );
  }
  return x.reshape(x.shape.filter((extent, axis) => (named ? !named.includes(axis) : extent !== 1)));
}

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

/** 1 at the class and 0 elsewhere. Shapes: ids [..] i32 -> [.., depth]; an id outside 0..depth-1 gives zeros. */
export function oneHot(ids: Tensor, depth: number, options: { readonly dtype?: DType } = {}): Tensor {
  return scope(ids.device, () => {
    const classes = arange(ids.device, depth, { dtype: ids.dtype });
    return expandDims(ids, ids.rank)
      .equal(classes)
      .cast(options.dtype ?? ids.device.defaultFloat);
  });
}

/** Rows of a table. Shapes: ids [..] i32, table [V, E] -> [.., E]; an id outside 0..V-1 gives zeros. */
export function embedding(
  ids: Tensor,
  table: Tensor,
  options: { readonly paddingIdx?: number } = {},
): Tensor {
  return scope(table.device, () => {
    const rows = take(table, ids);
    if (options.paddingIdx === undefined) return rows;
    // The padding row is used as it is but gets no gradient.
    return whereOp(expandDims(ids.equal(options.paddingIdx), ids.rank), rows.detach(), rows);
  });
}

/** Keeps the elements on and below a diagonal (0 = main, positive = above it) of the last two axes; zeros elsewhere. */
export function tril(x: Tensor, options: { readonly diagonal?: number } = {}): Tensor {
  return scope(x.device, () => {
    return whereOp(triangle(x, options.diagonal ?? 0), x, 0);
  });
}

/** Keeps the elements on and above a diagonal of the last two axes; zeros elsewhere. */
export function triu(x: Tensor, options: { readonly diagonal?: number } = {}): Tensor {
  return scope(x.device, () => {
    return whereOp(triangle(x, (options.diagonal ?? 0) - 1).logicalNot(), x, 0);
  });
}

function triangle(x: Tensor, diagonal: number): Tensor {
  const [rows = 1, columns = 1] = x.shape.slice(-2);
  const row = expandDims(arange(x.device, rows), 1);
  return arange(x.device, columns).lessEqual(row.add(diagonal));
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
