import { type Shape, sizeOf, stridesOf } from "../../shape.js";
import { i32 } from "../../wasm/scalar.js";
import { i32x4 } from "../../wasm/simd.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { copyKernel } from "./copy.js";
import { argument, kernelStep } from "./kernel-step.js";
import { elementAddress, type LaneDType, loadLanes, storeLanes } from "./lanes.js";
import { collapseAxes, stridedLoop, stridedParameters, stridedSizes } from "./strided-loop.js";
import { addLanes } from "./take.js";

/** `x` and `indices` have one rank; off the axis the indices are no longer than x. */
export interface GatherShape {
  readonly shape: Shape;
  readonly indices: Shape;
  readonly axis: number;
  readonly dtype: LaneDType;
}

/** The lines along the axis: one unit each. Operand 0 is x, operand 1 the indices (and what has their shape). */
function linesOf({ shape, indices, axis }: GatherShape) {
  const without = (list: readonly number[]) => list.filter((_, i) => i !== axis);
  const [xStrides, indexStrides] = [stridesOf(shape), stridesOf(indices)];
  const lines = collapseAxes({
    shape: without(indices),
    strides: [without(xStrides), without(indexStrides)],
  });
  return {
    lines,
    rank: lines.shape.length,
    sizes: [
      shape[axis] ?? 1,
      indices[axis] ?? 1,
      xStrides[axis] ?? 1,
      indexStrides[axis] ?? 1,
      ...stridedSizes(lines),
    ],
  };
}

/**
 * Picks one element of x per index along an axis, as torch.gather: y[.., i, ..] = x[.., indices[.., i, ..], ..]; an index out of
 * range gives 0.
 *
 * Buffers: x `shape`, indices i32 or u32, y of the shape of the indices.
 */
export function gatherKernel(gather: GatherShape, features: CpuFeatures): LoweredKernel {
  return { steps: [lineStep("gather", gather, { buffers: [0, 1, 2], features })], scratchBytes: 0 };
}

/**
 * Adds updates to a copy of x at the places that indices name: the reverse of gather. Indices out of range are ignored.
 *
 * Buffers: x `shape`, indices i32 or u32, updates of the shape of the indices, y `shape`. Parallel over lines along the axis, in
 * order within each: no races, and one result for any number of threads. Half floats round after every addition.
 */
export function scatterAddKernel(gather: GatherShape, features: CpuFeatures): LoweredKernel {
  const { shape, dtype } = gather;
  const elements = sizeOf(shape);
  const region = {
    input: 0,
    shape: [elements],
    inputOffset: 0,
    inputStrides: [1],
    outputOffset: 0,
    outputStrides: [1],
  };
  const copy = copyKernel({ regions: [region] }, { dtype, inputs: 3, outputElements: elements }, features);
  return {
    steps: [...copy.steps, lineStep("scatterAdd", gather, { buffers: [3, 1, 2], features })],
    scratchBytes: 0,
  };
}

/** One unit = one line. Buffers: the array indexed, the indices, the values (written by gather, read by scatterAdd). */
function lineStep(
  kind: "gather" | "scatterAdd",
  gather: GatherShape,
  { buffers, features }: { buffers: readonly number[]; features: CpuFeatures },
) {
  const { dtype, indices, axis } = gather;
  const { lines, rank, sizes } = linesOf(gather);
  return kernelStep(
    {
      key: `${kind}/${dtype}/${rank}`,
      features,
      args: [...buffers.map(argument.buffer), ...sizes.map(argument.i32)],
      units: sizeOf(lines.shape),
      grain: 8192 / ((indices[axis] ?? 1) + 8),
    },
    (f, parameters, range) => {
      const [array = range.begin, list = range.begin, values = range.begin, ...rest] =
        parameters as Local<"i32">[];
      const [extent, count, stride, step] = rest as [Local<"i32">, Local<"i32">, Local<"i32">, Local<"i32">];
      const loop = stridedParameters(rest.slice(4), { rank, operands: 2 });
      stridedLoop(f, range, loop, ({ offsets }) => {
        const [line = extent, start = extent] = offsets;
        const position = f.let(start);
        f.for(0, count, 1, () => {
          const index = f.let(i32.load(elementAddress(list, position, "i32")));
          const place = f.let(elementAddress(array, i32.add(line, i32.mul(index, stride)), dtype));
          const value = f.let(elementAddress(values, position, dtype));
          const isInside = i32.ltU(index, extent);
          if (kind === "gather") {
            const lanes = f.local("v128");
            f.set(lanes, i32x4.splat(0));
            f.if(isInside, () => f.set(lanes, loadLanes(f, dtype, place, { width: 1 })));
            storeLanes(f, dtype, value, { value: lanes, width: 1 });
          } else {
            f.if(isInside, () => {
              const [sum, update] = [place, value].map((at) => loadLanes(f, dtype, at, { width: 1 }));
              if (sum && update)
                storeLanes(f, dtype, place, { value: addLanes(f, dtype, sum, update), width: 1 });
            });
          }
          f.increase(position, step);
        });
      });
    },
  );
}
