import type { DType } from "./dtype.js";
import { HeddleError } from "./error.js";

export type Shape = readonly number[];

/** What is known of a tensor before it has values. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] ?? 1;
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** `f32[2, 3]`, as error messages and plans print it. */
export function formatType(type: TensorType): string {
  return `${type.dtype}[${type.shape.join(", ")}]`;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Checks that every extent is a whole number of at least 0. */
export function checkShape(caller: string, shape: Shape): void {
  if (shape.some((extent) => !Number.isInteger(extent) || extent < 0)) {
    throw new HeddleError(
      "shape",
      `${caller}: every extent must be a whole number >= 0; got shape ${formatShape(shape)}. Round or clamp the extents before the call.`,
      { shape },
    );
  }
}

/** Turns an axis that may count from the end (-1 = last) into 0..rank-1. */
export function normalizeAxis(caller: string, axis: number, rank: number): number {
  const normalized = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normalized < 0 || normalized >= rank) {
    throw new HeddleError(
      "shape",
      `${caller}: axis must be a whole number in -${rank}..${rank - 1} for rank ${rank}; got axis ${axis}. Use -1 for the last axis.`,
      { axis, rank },
    );
  }
  return normalized;
}

/** Shape that NumPy's broadcasting rule gives: right-aligned, extents equal or 1. */
export function broadcastShapes(caller: string, shapes: readonly Shape[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const axis = rank - shape.length + i;
      const extent = shape[i] ?? 1;
      const current = result[axis] ?? 1;
      if (current === 1) result[axis] = extent;
      else if (extent !== 1 && extent !== current) {
        throw new HeddleError(
          "shape",
          `${caller}: shapes must be equal or 1 on each axis, aligned from the right; got ${shapes.map(formatShape).join(" and ")}. Reshape or transpose one of them.`,
          { shapes },
        );
      }
    }
  }
  return result;
}

/** Strides of `shape` seen as `target` under broadcasting: 0 where it repeats. In elements, one per target axis. */
export function broadcastStrides(shape: Shape, target: Shape): number[] {
  const strides = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, axis) => (axis < lead || shape[axis - lead] === 1 ? 0 : (strides[axis - lead] ?? 0)));
}

/** For each element of `target`, row-major, the position in `shape` that broadcasting reads. */
export function broadcastOffsets(shape: Shape, target: Shape): Int32Array {
  return stridedOffsets(target, broadcastStrides(shape, target));
}

/** Positions of the elements of a strided box, row-major. */
export function stridedOffsets(shape: Shape, strides: readonly number[], start = 0): Int32Array {
  let offsets = Int32Array.of(start);
  shape.forEach((extent, axis) => {
    const stride = strides[axis] ?? 0;
    const next = new Int32Array(offsets.length * extent);
    for (let i = 0; i < offsets.length; i++) {
      for (let j = 0; j < extent; j++) next[i * extent + j] = (offsets[i] ?? 0) + j * stride;
    }
    offsets = next;
  });
  return offsets;
}
