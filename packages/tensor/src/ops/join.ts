import { HeddleError } from "../error.js";
import { scope } from "../scope.js";
import { formatShape, formatType, normalizeAxis } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { concatOp, padOp } from "./movement.js";
import type { AxisOption } from "./softmax.js";

/**
 * Joins tensors along one axis (default 0).
 *
 * Shapes: [.., n1, ..], [.., n2, ..], .. -> [.., n1 + n2 + .., ..]; all other extents and the dtype agree.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if they disagree or the axis is out of range
 */
export function concat(tensors: readonly Tensor[], options: AxisOption = {}): Tensor {
  return concatOp.call(tensors, { axis: normalizeAxis("concat", options.axis ?? 0, tensors[0]?.rank ?? 0) });
}

/**
 * Joins tensors of one shape along a new axis (default 0).
 *
 * Shapes: n times [A.., B..] -> [A.., n, B..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes or dtypes differ
 */
export function stack(tensors: readonly Tensor[], options: AxisOption = {}): Tensor {
  const axis = normalizeAxis("stack", options.axis ?? 0, (tensors[0]?.rank ?? 0) + 1);
  const join = () =>
    concat(
      tensors.map((x) => expandDims(x, axis)),
      { axis },
    );
  return tensors[0] ? scope(tensors[0].device, join) : join();
}

/**
 * Cuts a tensor along one axis (default 0) into pieces of the given sizes, or into that many equal parts.
 *
 * Shapes: x [.., n, ..] -> [.., sizes[i], ..] for each i.
 * @returns new tensors that the caller owns
 * @throws HeddleError "shape" if the sizes do not add up to n
 */
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

/**
 * Adds `[before, after]` elements on each axis.
 *
 * Shapes: x [n1, n2, ..] -> [before1 + n1 + after1, ..].
 * @param options.value  of the new elements; default 0
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if there is not one pair of whole numbers >= 0 per axis
 */
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

/**
 * Inserts an axis of extent 1.
 *
 * Shapes: x [A.., B..] -> [A.., 1, B..], the new axis at `axis`, negative from the end of the result.
 * @returns a view that the caller owns
 * @throws HeddleError "shape" if the axis is out of range
 */
export function expandDims(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("expandDims", axis, x.rank + 1);
  return x.reshape([...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/**
 * Removes axes of extent 1: those named, or all.
 *
 * Shapes: x [A, 1, B] -> [A, B].
 * @returns a view that the caller owns
 * @throws HeddleError "shape" if a named axis has another extent
 */
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
