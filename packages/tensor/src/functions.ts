import { arange } from "./create.js";
import type { DType } from "./dtype.js";
import { elementwise, type TensorOrNumber, whereOp } from "./ops/elementwise.js";
import { expandDims } from "./ops/join.js";
import type { EmbeddingTable } from "./ops/linear.js";
import type { ReduceOptions } from "./ops/reduce.js";
import type { AxisOption } from "./ops/softmax.js";
import { scope } from "./scope.js";
import type { Shape } from "./shape.js";
import type { Tensor } from "./tensor.js";

// The primitive ops as functions: `add(a, b)` is `a.add(b)`. Elementwise arguments broadcast as in NumPy.

/**
 * Adds: a + b.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const add = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("add", a, b);

/**
 * Subtracts: a - b.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const sub = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("sub", a, b);

/**
 * Multiplies element by element: a b.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const mul = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("mul", a, b);

/**
 * Divides: a / b. Integers truncate towards zero, and x / 0 = 0.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const div = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("div", a, b);

/**
 * Raises to a power: a^b. The gradient with respect to b is taken as 0 where a = 0, as in PyTorch.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const pow = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("pow", a, b);

/**
 * Picks the larger element; NaN wins. The gradient goes to it, half to each where they are equal.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const maximum = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("maximum", a, b);

/**
 * Picks the smaller element; NaN wins. The gradient goes to it, half to each where they are equal.
 *
 * Shapes: a [..], b [..] -> [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const minimum = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("minimum", a, b);

/**
 * Tells where a = b.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ
 */
export const equal = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("equal", a, b);

/**
 * Tells where a and b differ.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ
 */
export const notEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("notEqual", a, b);

/**
 * Tells where a < b.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const less = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("less", a, b);

/**
 * Tells where a <= b.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const lessEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("lessEqual", a, b);

/**
 * Tells where a > b.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const greater = (a: TensorOrNumber, b: TensorOrNumber): Tensor => elementwise("greater", a, b);

/**
 * Tells where a >= b.
 *
 * Shapes: a [..], b [..] -> bool [..], broadcast as in NumPy; one dtype, a number takes the tensor's.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are bool
 */
export const greaterEqual = (a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  elementwise("greaterEqual", a, b);

/**
 * Tells where both hold.
 *
 * Shapes: a [..], b [..] -> [..], all bool, broadcast as in NumPy.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if an argument is not bool
 */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => a.logicalAnd(b);

/**
 * Tells where at least one holds.
 *
 * Shapes: a [..], b [..] -> [..], all bool, broadcast as in NumPy.
 * @returns a new bool tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if an argument is not bool
 */
export const logicalOr = (a: Tensor, b: Tensor): Tensor => a.logicalOr(b);

/**
 * Tells where x does not hold. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not bool
 */
export const logicalNot = (x: Tensor): Tensor => x.logicalNot();

/**
 * Changes the sign: -x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const neg = (x: Tensor): Tensor => x.neg();

/**
 * Drops the sign: |x|. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const abs = (x: Tensor): Tensor => x.abs();

/**
 * -1, 0 or 1 by the sign of x; the gradient is 0. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const sign = (x: Tensor): Tensor => x.sign();

/**
 * Rounds down to a whole number; the gradient is 0. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const floor = (x: Tensor): Tensor => x.floor();

/**
 * 1 / x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const reciprocal = (x: Tensor): Tensor => x.reciprocal();

/**
 * x^2. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const square = (x: Tensor): Tensor => x.square();

/**
 * e^x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const exp = (x: Tensor): Tensor => x.exp();

/**
 * Natural logarithm of x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const log = (x: Tensor): Tensor => x.log();

/**
 * Square root of x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const sqrt = (x: Tensor): Tensor => x.sqrt();

/**
 * 1 / sqrt(x). Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const rsqrt = (x: Tensor): Tensor => x.rsqrt();

/**
 * Hyperbolic tangent of x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const tanh = (x: Tensor): Tensor => x.tanh();

/**
 * 1 / (1 + e^-x), without overflow. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const sigmoid = (x: Tensor): Tensor => x.sigmoid();

/**
 * Error function 2/sqrt(pi) times the integral of e^(-t^2) over 0..x. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const erf = (x: Tensor): Tensor => x.erf();

/**
 * Sine of x, in radians. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const sin = (x: Tensor): Tensor => x.sin();

/**
 * Cosine of x, in radians. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 */
export const cos = (x: Tensor): Tensor => x.cos();

/**
 * Limits values to min..max, either of which may be left out; the gradient is 0 outside. Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export const clamp = (x: Tensor, range: { readonly min?: number; readonly max?: number }): Tensor =>
  x.clamp(range);

/**
 * Converts to another dtype: floats round to nearest, integers truncate towards zero and wrap, bool is "not zero".
 *
 * Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns; between floats the gradient is cast back
 */
export const cast = (x: Tensor, dtype: DType): Tensor => x.cast(dtype);

// Reductions over `axes` (default: all): `sum(x, { axes: -1 })` is `x.sum({ axes: -1 })`.

/**
 * Adds up the elements along `axes`.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`; `axes` defaults to all.
 * @returns a new tensor of x's dtype that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is bool
 */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => x.sum(options);

/**
 * Averages the elements along `axes`.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`; `axes` defaults to all.
 * @returns a new tensor of x's dtype that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is not a float
 */
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => x.mean(options);

/**
 * Largest element along `axes`; NaN wins. Equal ones share the gradient.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`; `axes` defaults to all.
 * @returns a new tensor of x's dtype that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is bool
 */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => x.max(options);

/**
 * Smallest element along `axes`; NaN wins. Equal ones share the gradient.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`; `axes` defaults to all.
 * @returns a new tensor of x's dtype that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is bool
 */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => x.min(options);

/**
 * Multiplies the elements along `axes`. The gradient is right at zeros too.
 *
 * Shapes: x [..] -> x's without `axes`, or with extent 1 there under `keepDims`; `axes` defaults to all.
 * @returns a new tensor of x's dtype that the caller owns
 * @throws HeddleError "shape" if an axis is out of range or named twice, "dtype" if x is bool
 */
export const prod = (x: Tensor, options: ReduceOptions = {}): Tensor => x.prod(options);

/**
 * Position of the largest element along one axis; the first of equal ones.
 *
 * Shapes: x [.., n, ..] -> i32 without the axis (default -1), or with extent 1 there under `keepDims`.
 * @returns a new i32 tensor that the caller owns; it has no gradient
 * @throws HeddleError "shape" if the axis is out of range or empty
 */
export const argmax = (x: Tensor, options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor =>
  x.argmax(options);

/**
 * Position of the smallest element along one axis; the first of equal ones.
 *
 * Shapes: x [.., n, ..] -> i32 without the axis (default -1), or with extent 1 there under `keepDims`.
 * @returns a new i32 tensor that the caller owns; it has no gradient
 * @throws HeddleError "shape" if the axis is out of range or empty
 */
export const argmin = (x: Tensor, options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor =>
  x.argmin(options);

// Movement.

/**
 * Gives the same elements another shape, sharing memory; one extent may be -1.
 *
 * Shapes: x [..] -> shape, of as many elements.
 * @returns a view that the caller owns; the memory lives until its last owner is freed
 * @throws HeddleError "shape" if the number of elements differs
 */
export const reshape = (x: Tensor, shape: Shape): Tensor => x.reshape(shape);

/**
 * Reorders axes: axis i of the result is axis permutation[i] of x. Without a permutation swaps the last two.
 *
 * Shapes: x [A, .., Y, Z] -> [A, .., Z, Y], or as the permutation says.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the permutation does not name every axis once
 */
export const transpose = (x: Tensor, permutation?: readonly number[]): Tensor => x.transpose(permutation);

/**
 * Cuts out a box: `sizes[i]` elements from `starts[i]` on axis i.
 *
 * Shapes: x [..] -> sizes.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the box does not lie inside x or a list does not have one entry per axis
 */
export const slice = (x: Tensor, starts: readonly number[], sizes: readonly number[]): Tensor =>
  x.slice(starts, sizes);

/**
 * Elements start..end-1 along one axis (negative from the end), all of the others.
 *
 * Shapes: x [.., n, ..] -> [.., end - start, ..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the axis or the range lies outside x
 */
export const narrow = (x: Tensor, axis: number, [start, end]: readonly [number, number]): Tensor =>
  x.narrow(axis, start, end);

/**
 * Repeats axes of extent 1, and adds leading ones.
 *
 * Shapes: x [..] -> shape, to which x broadcasts as in NumPy.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if x does not broadcast to the shape
 */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => x.broadcastTo(shape);

/**
 * Picks from `a` where the condition holds, else from `b`.
 *
 * Shapes: condition bool [..], a [..], b [..] -> [..], all broadcast as in NumPy; a and b have one dtype or are numbers.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the condition is not bool, the dtypes differ or both
 * values are numbers
 */
export const where = (condition: Tensor, a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  whereOp(condition, a, b);

/**
 * Writes 1 at the class and 0 elsewhere.
 *
 * Shapes: ids [..] i32 -> [.., depth]; an id outside 0..depth-1 gives zeros.
 * @param options.dtype  of the result; default the device's float
 * @returns a new tensor that the caller owns
 */
export function oneHot(ids: Tensor, depth: number, options: { readonly dtype?: DType } = {}): Tensor {
  return scope(ids.device, () => {
    const classes = arange(ids.device, depth, { dtype: ids.dtype });
    return expandDims(ids, ids.rank)
      .equal(classes)
      .cast(options.dtype ?? ids.device.defaultFloat);
  });
}

/**
 * Looks up rows of a table, dense or quantised: y = table[ids].
 *
 * Shapes: ids [..] i32 or u32, table [V, E] -> [.., E]; an id outside 0..V-1 gives zeros.
 * @param options.paddingIdx  id whose row is read but gets no gradient; default none
 * @returns a new tensor of the table's dtype that the caller owns
 * @throws HeddleError "dtype" if the ids are not i32 or u32
 */
export function embedding(
  ids: Tensor,
  table: Pick<EmbeddingTable, "device" | "take">,
  options: { readonly paddingIdx?: number } = {},
): Tensor {
  return scope(table.device, () => {
    const rows = table.take(ids);
    if (options.paddingIdx === undefined) return rows;
    // The padding row is used as it is but gets no gradient.
    return whereOp(expandDims(ids.equal(options.paddingIdx), ids.rank), rows.detach(), rows);
  });
}

/**
 * Keeps the elements on and below a diagonal of the last two axes; zeros elsewhere.
 *
 * Shapes: x [.., M, N] -> [.., M, N].
 * @param options.diagonal  0 = main (default), positive = above it, in elements
 * @returns a new tensor that the caller owns
 */
export function tril(x: Tensor, options: { readonly diagonal?: number } = {}): Tensor {
  return scope(x.device, () => {
    return whereOp(triangle(x, options.diagonal ?? 0), x, 0);
  });
}

/**
 * Keeps the elements on and above a diagonal of the last two axes; zeros elsewhere.
 *
 * Shapes: x [.., M, N] -> [.., M, N].
 * @param options.diagonal  0 = main (default), positive = above it, in elements
 * @returns a new tensor that the caller owns
 */
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
