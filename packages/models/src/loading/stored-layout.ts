import { concat, invariant, scope, split, type Tensor } from "@heddle/tensor";
import type { StoredWeight } from "./weight-map.js";

/**
 * Turns a stored tensor, which it consumes, into the weights that it holds: transposed, cut along its rows or, where query,
 * key and value lie head by head, along the rows of each group.
 */
export function takeApart(stored: Tensor, weight: StoredWeight): readonly Tensor[] {
  const { isTransposed, parts, hasUnitRows } = weight;
  if (!isTransposed && !hasUnitRows && parts.length === 1) return [stored];
  try {
    return scope(stored.device, () => {
      const ours = isTransposed ? swapLast(stored) : stored;
      const rows = hasUnitRows ? unitRows(ours) : ours;
      return parts.length === 1 ? [rows] : cutRows(rows, weight);
    });
  } finally {
    stored.dispose();
  }
}

/** The inverse: the tensor as a checkpoint holds it. Borrows the parts; the result is new unless it is the only part itself. */
export function putTogether(parts: readonly Tensor[], weight: StoredWeight): Tensor {
  const [first] = parts;
  invariant(first, `${weight.name} has parts`);
  if (parts.length === 1 && !weight.isTransposed) return first;
  return scope(first.device, () => {
    const rows = parts.length === 1 ? first : joinRows(parts, weight);
    return weight.isTransposed ? swapLast(rows) : rows;
  });
}

/** Where a row of one part lies among all rows of the stored tensor (in our order of axes). */
export function rowOfGroup(weight: StoredWeight, part: number, row: number): number {
  const sizes = rowsOfGroup(weight);
  const size = sizes[part] ?? 1;
  const before = sizes.slice(0, part).reduce((sum, rows) => sum + rows, 0);
  const groupRows = sizes.reduce((sum, rows) => sum + rows, 0);
  return Math.floor(row / size) * groupRows + before + (row % size);
}

/** Rows of each part in one group. */
function rowsOfGroup({ parts, axis, groups }: StoredWeight): readonly number[] {
  return parts.map(({ shape }) => (shape[axis] ?? 0) / groups);
}

function cutRows(x: Tensor, weight: StoredWeight): readonly Tensor[] {
  const { parts, axis, groups } = weight;
  const sizes = rowsOfGroup(weight);
  if (groups === 1) return split(x, sizes, { axis });
  const around = [...x.shape.slice(0, axis), groups, -1, ...x.shape.slice(axis + 1)];
  return split(x.reshape(around), sizes, { axis: axis + 1 }).map((part, at) =>
    part.reshape(parts[at]?.shape ?? []),
  );
}

function joinRows(parts: readonly Tensor[], { axis, groups }: StoredWeight): Tensor {
  if (groups === 1) return concat(parts, { axis });
  const grouped = parts.map((part) =>
    part.reshape([...part.shape.slice(0, axis), groups, -1, ...part.shape.slice(axis + 1)]),
  );
  const joined = concat(grouped, { axis: axis + 1 });
  const [rows = 0, share = 0] = joined.shape.slice(axis, axis + 2);
  return joined.reshape([...joined.shape.slice(0, axis), rows * share, ...joined.shape.slice(axis + 2)]);
}

function swapLast(x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return x.transpose([...axes.slice(0, -2), ...axes.slice(-2).toReversed()]);
}

/** Rows of length 1, as torch's `normalize` makes them. */
function unitRows(x: Tensor): Tensor {
  const length = x.square().sum({ axes: -1, keepDims: true }).sqrt();
  return x.div(length.maximum(1e-12));
}
