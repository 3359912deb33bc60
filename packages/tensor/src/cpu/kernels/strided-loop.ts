import type { Shape } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { Local } from "../../wasm/value.js";
import type { UnitRange } from "./kernel-step.js";

/** A shape walked by several operands at once: `strides[k][axis]` is how far operand k moves, in its elements. */
export interface StridedShape {
  readonly shape: Shape;
  readonly strides: readonly (readonly number[])[];
}

/** Drops axes of extent 1 and joins neighbouring axes that every operand walks as one. The order stays. */
export function collapseAxes({ shape, strides }: StridedShape): StridedShape {
  const extents: number[] = [];
  const moves: number[][] = strides.map(() => []);
  shape.forEach((extent, axis) => {
    if (extent === 1) return;
    const last = extents.length - 1;
    const stride = (k: number) => strides[k]?.[axis] ?? 0;
    const isJoined = last >= 0 && moves.every((m, k) => m[last] === stride(k) * extent);
    if (isJoined) extents[last] = (extents[last] ?? 1) * extent;
    else extents.push(extent);
    moves.forEach((m, k) => {
      m[isJoined ? last : last + 1] = stride(k);
    });
  });
  return { shape: extents, strides: moves };
}

/** Splits off the last axis (extent 1, strides 0 for a scalar). */
export function splitLastAxis({ shape, strides }: StridedShape): {
  readonly outer: StridedShape;
  readonly extent: number;
  readonly innerStrides: readonly number[];
} {
  return {
    outer: { shape: shape.slice(0, -1), strides: strides.map((moves) => moves.slice(0, -1)) },
    extent: shape.at(-1) ?? 1,
    innerStrides: strides.map((moves) => moves.at(-1) ?? 0),
  };
}

/** Parameters of a strided loop, in the order of `stridedArguments`. */
export interface StridedParameters {
  readonly shape: readonly Local<"i32">[];
  readonly strides: readonly (readonly Local<"i32">[])[];
}

/** The sizes as numbers: the shape, then the strides of each operand. */
export function stridedSizes({ shape, strides }: StridedShape): number[] {
  return [...shape, ...strides.flat()];
}

/** Undoes `stridedSizes` for parameters: `rank` extents, then `rank` strides for each operand. */
export function stridedParameters(
  parameters: readonly Local<"i32">[],
  { rank, operands }: { rank: number; operands: number },
): StridedParameters {
  const row = (k: number) => parameters.slice(k * rank, (k + 1) * rank);
  return { shape: row(0), strides: Array.from({ length: operands }, (_, k) => row(k + 1)) };
}

/** Where a strided loop stands: the index on each axis, the offset of each operand in its elements. */
export interface StridedPosition {
  readonly indices: readonly Local<"i32">[];
  readonly offsets: readonly Local<"i32">[];
}

/**
 * Visits the points begin..end-1 of a shape in row-major order. Divides once at the start, then counts like an odometer:
 * a step adds the stride of the last axis; where an axis is full it goes back to 0 and the next one moves.
 */
export function stridedLoop(
  f: FunctionBuilder,
  { begin, end }: UnitRange,
  { shape, strides }: StridedParameters,
  body: (position: StridedPosition) => void,
): void {
  const rest = f.let(i32.add(begin, 0));
  const indices = shape.map(() => f.local("i32"));
  const offsets = strides.map(() => f.let(i32.const(0)));
  const axes = shape.map((extent, axis) => ({ extent, index: indices[axis] ?? rest, axis }));
  const move = (axis: number, count: Local<"i32">) =>
    offsets.forEach((offset, k) => {
      f.increase(offset, i32.mul(strides[k]?.[axis] ?? 0, count));
    });
  for (const { extent, index, axis } of [...axes].reverse()) {
    f.set(index, axis === 0 ? rest : i32.remU(rest, extent));
    f.set(rest, i32.divU(rest, extent));
    move(axis, index);
  }
  f.for(begin, end, 1, () => {
    body({ indices, offsets });
    f.block((done) => {
      for (const { extent, index, axis } of [...axes].reverse()) {
        f.increase(index, 1);
        for (const [k, offset] of offsets.entries()) f.increase(offset, strides[k]?.[axis] ?? 0);
        if (axis === 0) break;
        f.branchIf(done, i32.ltU(index, extent));
        for (const [k, offset] of offsets.entries()) {
          f.set(offset, i32.sub(offset, i32.mul(strides[k]?.[axis] ?? 0, extent)));
        }
        f.set(index, 0);
      }
    });
  });
}
