import { arange } from "./create.js";
import type { DType } from "./dtype.js";
import { elementwise, type TensorOrNumber, whereOp } from "./ops/elementwise.js";
import { expandDims } from "./ops/join.js";
import type { ReduceOptions } from "./ops/reduce.js";
import { take } from "./ops/select.js";
import type { AxisOption } from "./ops/softmax.js";
import { scope } from "./scope.js";
import type { Shape } from "./shape.js";
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

export const logicalAnd = (a: Tensor, b: Tensor): Tensor => a.logicalAnd(b);
export const logicalOr = (a: Tensor, b: Tensor): Tensor => a.logicalOr(b);
export const logicalNot = (x: Tensor): Tensor => x.logicalNot();
export const neg = (x: Tensor): Tensor => x.neg();
export const abs = (x: Tensor): Tensor => x.abs();
export const sign = (x: Tensor): Tensor => x.sign();
export const floor = (x: Tensor): Tensor => x.floor();
export const reciprocal = (x: Tensor): Tensor => x.reciprocal();
export const square = (x: Tensor): Tensor => x.square();
export const exp = (x: Tensor): Tensor => x.exp();
export const log = (x: Tensor): Tensor => x.log();
export const sqrt = (x: Tensor): Tensor => x.sqrt();
export const rsqrt = (x: Tensor): Tensor => x.rsqrt();
export const tanh = (x: Tensor): Tensor => x.tanh();
export const sigmoid = (x: Tensor): Tensor => x.sigmoid();
export const erf = (x: Tensor): Tensor => x.erf();
export const sin = (x: Tensor): Tensor => x.sin();
export const cos = (x: Tensor): Tensor => x.cos();
export const clamp = (x: Tensor, range: { readonly min?: number; readonly max?: number }): Tensor =>
  x.clamp(range);
export const cast = (x: Tensor, dtype: DType): Tensor => x.cast(dtype);

// Reductions over `axes` (default: all): `sum(x, { axes: -1 })` is `x.sum({ axes: -1 })`.
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => x.sum(options);
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => x.mean(options);
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => x.max(options);
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => x.min(options);
export const prod = (x: Tensor, options: ReduceOptions = {}): Tensor => x.prod(options);
export const argmax = (x: Tensor, options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor =>
  x.argmax(options);
export const argmin = (x: Tensor, options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor =>
  x.argmin(options);

// Movement.
export const reshape = (x: Tensor, shape: Shape): Tensor => x.reshape(shape);
export const transpose = (x: Tensor, permutation?: readonly number[]): Tensor => x.transpose(permutation);
export const slice = (x: Tensor, starts: readonly number[], sizes: readonly number[]): Tensor =>
  x.slice(starts, sizes);
export const narrow = (x: Tensor, axis: number, [start, end]: readonly [number, number]): Tensor =>
  x.narrow(axis, start, end);
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => x.broadcastTo(shape);

/** Picks from `a` where the bool condition holds, else from `b`; all three broadcast. */
export const where = (condition: Tensor, a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  whereOp(condition, a, b);

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
