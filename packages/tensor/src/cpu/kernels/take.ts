import { isHalf } from "../../dtype.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4 } from "../../wasm/simd.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, KernelStep, LoweredKernel } from "../kernel.js";
import type { AxisShape } from "./axis-shape.js";
import { copyRun } from "./copy.js";
import { copyElement } from "./copy-element.js";
import { fillStep } from "./fill.js";
import { argument, kernelStep } from "./kernel-step.js";
import {
  byteShift,
  elementAddress,
  isFloatLane,
  type LaneDType,
  type LaneWidth,
  loadLanes,
  storeLanes,
  wrapLanes,
} from "./lanes.js";

/** `x` around the axis, and how many indices there are. */
export interface TakeShape extends AxisShape {
  readonly count: number;
}

/**
 * Copies the slices that indices name: y[o, i, :] = x[o, indices[i], :]; an index out of range gives zeros.
 *
 * Buffers: x [outer, extent, inner], indices i32 or u32 [count], y [outer, count, inner]. With outer = 1 this is the embedding.
 */
export function takeKernel(
  { outer, extent, inner, count, dtype }: TakeShape,
  features: CpuFeatures,
): LoweredKernel {
  const shift = byteShift(dtype);
  const width = shift === 2 ? 4 : shift === 1 ? 2 : 1;
  const isSingle = inner === 1;
  const step = kernelStep(
    {
      key: `take/${width}/${isSingle}`,
      features,
      args: [...[0, 1, 2].map(argument.buffer), ...[extent, inner, count].map(argument.i32)],
      units: outer * count,
      grain: 16384 / (inner + 4),
    },
    (f, [source, indices, target, ...sizes], { begin, end }) => {
      const [rows, columns, perOuter] = sizes as [Local<"i32">, Local<"i32">, Local<"i32">];
      const [from = begin, list = begin, to = begin] = [source, indices, target] as Local<"i32">[];
      f.for(begin, end, 1, (unit) => {
        const index = f.let(i32.load(elementAddress(list, i32.remU(unit, perOuter), "i32")));
        const row = i32.add(i32.mul(i32.divU(unit, perOuter), rows), index);
        const line = f.let(elementAddress(to, i32.mul(unit, columns), dtype));
        f.if(
          i32.ltU(index, rows),
          () => {
            const start = f.let(elementAddress(from, i32.mul(row, columns), dtype));
            if (isSingle) copyElement(f, width, line, start);
            else copyRun(f, { source: start, target: line, count: columns, width });
          },
          () => f.fillMemory(line, 0, i32.shl(columns, shift)),
        );
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/** Columns of one unit of the gradient. */
const stripColumns = 64;

/**
 * Gradient of take: dx[o, indices[i], :] += dy[o, i, :] from zeros; indices out of range are ignored.
 *
 * Buffers: dy [outer, count, inner], indices i32 or u32 [count], dx [outer, extent, inner]. Parallel over columns, in the order
 * of the indices: no races, and one result for any number of threads. Half floats add up in f32.
 */
export function takeGradKernel(shape: TakeShape, features: CpuFeatures): LoweredKernel {
  const { outer, extent, inner, dtype } = shape;
  const isNarrow = isHalf(dtype);
  const sumDtype = isNarrow ? "f32" : dtype;
  const elements = outer * extent * inner;
  const sums = isNarrow ? argument.scratch(0) : argument.buffer(2);
  const zero = fillStep(0, {
    dtype: sumDtype,
    output: sums,
    bytes: elements << byteShift(sumDtype),
    features,
  });
  const add = addRowsStep(shape, { sums, sumDtype, features });
  if (!isNarrow) return { steps: [zero, add], scratchBytes: 0 };
  return { steps: [zero, add, castStep(elements, dtype, features)], scratchBytes: elements * 4 };
}

/** One unit = a strip of columns of one outer index: adds that strip of every row of dy. */
function addRowsStep(
  { outer, extent, inner, count, dtype }: TakeShape,
  {
    sums,
    sumDtype,
    features,
  }: { sums: KernelStep["args"][number]; sumDtype: LaneDType; features: CpuFeatures },
): KernelStep {
  const strips = Math.ceil(inner / stripColumns);
  return kernelStep(
    {
      key: `takeGrad/${dtype}`,
      features,
      args: [
        argument.buffer(0),
        argument.buffer(1),
        sums,
        ...[extent, inner, count, strips].map(argument.i32),
      ],
      units: outer * strips,
      grain: 8192 / (count * Math.min(inner, stripColumns) + 1),
    },
    (f, [source, indices, target, ...sizes], { begin, end }) => {
      const [rows, columns, numIndices, perOuter] = sizes as [
        Local<"i32">,
        Local<"i32">,
        Local<"i32">,
        Local<"i32">,
      ];
      f.for(begin, end, 1, (unit) => {
        const block = f.let(i32.divU(unit, perOuter));
        const first = f.let(i32.mul(i32.remU(unit, perOuter), stripColumns));
        const limit = f.let(i32.add(first, stripColumns));
        f.if(i32.gtS(limit, columns), () => f.set(limit, columns));
        f.for(0, numIndices, 1, (i) => {
          const index = f.let(i32.load(elementAddress(indices, i, "i32")));
          f.if(i32.ltU(index, rows), () => {
            const from = f.let(i32.mul(i32.add(i32.mul(block, numIndices), i), columns));
            const to = f.let(i32.mul(i32.add(i32.mul(block, rows), index), columns));
            const column = f.let(first);
            const pass = (width: LaneWidth) => () => {
              const address = f.let(elementAddress(target, i32.add(to, column), sumDtype));
              const update = loadLanes(f, dtype, elementAddress(source, i32.add(from, column), dtype), {
                width,
              });
              const value = addLanes(f, sumDtype, loadLanes(f, sumDtype, address, { width }), update);
              storeLanes(f, sumDtype, address, { value, width });
            };
            f.advance(column, i32.sub(limit, 3), 4, pass(4));
            f.advance(column, limit, 1, pass(1));
          });
        });
      });
    },
  );
}

/** Sum in the dtype: integers wrap. */
export function addLanes(
  f: FunctionBuilder,
  dtype: LaneDType,
  a: Local<"v128">,
  b: Local<"v128">,
): Local<"v128"> {
  return isFloatLane(dtype) ? f.let(f32x4.add(a, b)) : wrapLanes(f, dtype, i32x4.add(a, b));
}

const castUnit = 4096;

/** Rounds f32 sums in scratch memory to buffer 2. */
function castStep(elements: number, dtype: LaneDType, features: CpuFeatures): KernelStep {
  return kernelStep(
    {
      key: `takeGrad/cast/${dtype}`,
      features,
      args: [argument.scratch(0), argument.buffer(2), argument.i32(elements)],
      units: Math.ceil(elements / castUnit),
      grain: 8,
    },
    (f, [source, target, count], { begin, end }) => {
      const i = f.let(i32.mul(begin, castUnit));
      const limit = f.let(i32.mul(end, castUnit));
      f.if(i32.gtS(limit, count), () => f.set(limit, count));
      const pass = (width: LaneWidth) => () => {
        const value = loadLanes(f, "f32", elementAddress(source, i, "f32"), { width });
        storeLanes(f, dtype, elementAddress(target, i, dtype), { value, width });
      };
      f.advance(i, i32.sub(limit, 3), 4, pass(4));
      f.advance(i, limit, 1, pass(1));
    },
  );
}
