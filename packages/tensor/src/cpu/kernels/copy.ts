import { byteWidth } from "../../dtype.js";
import type { Copies, CopyRegion } from "../../op-forms.js";
import { sizeOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { i8x16, i16x8, i32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelStep, LoweredKernel } from "../kernel.js";
import { copyElement, type ElementBytes, loadElement, type RegionContext } from "./copy-element.js";
import { copyByTiles } from "./copy-transpose.js";
import { fillStep } from "./fill.js";
import { argument, kernelStep } from "./kernel-step.js";
import type { LaneDType } from "./lanes.js";
import {
  collapseAxes,
  type StridedShape,
  splitLastAxis,
  stridedLoop,
  stridedParameters,
  stridedSizes,
} from "./strided-loop.js";

/** Elements of the innermost axis that make one unit of work. */
const blockElements = 16384;
/** Runs of at least this many bytes go through the engine's own copy. */
const longRunBytes = 512;

/**
 * Moves strided boxes of the inputs to strided boxes of the output: transpose, slice, pad, concat, broadcast.
 *
 * Buffers: the inputs, then the output, all of one dtype. The output is first filled with `copies.fill` where given. Regions of
 * one output must not overlap. Contiguous runs are block copies; a transpose goes by tiles of 4 x 4 vectors (32-bit elements).
 */
export function copyKernel(
  copies: Copies,
  { dtype, inputs, outputElements }: { dtype: LaneDType; inputs: number; outputElements: number },
  features: CpuFeatures,
): LoweredKernel {
  const steps: KernelStep[] = [];
  const output = inputs;
  if (copies.fill !== undefined) {
    steps.push(
      fillStep(copies.fill, {
        dtype,
        output: argument.buffer(output),
        bytes: outputElements * byteWidth(dtype),
        features,
      }),
    );
  }
  for (const region of copies.regions) {
    if (sizeOf(region.shape) > 0) steps.push(regionStep(region, { output, width: widthOf(dtype), features }));
  }
  return { steps, scratchBytes: 0 };
}

function widthOf(dtype: LaneDType): ElementBytes {
  const width = byteWidth(dtype);
  return width === 4 ? 4 : width === 2 ? 2 : 1;
}

/** Operand 0 of the strided shape is the input, operand 1 the output. */
function regionStep(region: CopyRegion, context: RegionContext): KernelStep {
  const box = collapseAxes({ shape: region.shape, strides: [region.inputStrides, region.outputStrides] });
  const { outer, extent, innerStrides } = splitLastAxis(box);
  const [from = 1, to = 1] = box.shape.length === 0 ? [1, 1] : innerStrides;
  const lane = to === 1 && from !== 1 ? contiguousInputAxis(box) : -1;
  if (lane >= 0) return copyByTiles(region, moveAxisToSecondLast(box, lane), context);
  const mode = to === 1 && from === 1 ? "run" : to === 1 && from === 0 ? "repeat" : "strided";
  const loop = {
    shape: [...outer.shape, Math.ceil(extent / blockElements)],
    strides: outer.strides.map((moves, k) => [...moves, (k === 0 ? from : to) * blockElements]),
  };
  const { width, features } = context;
  const rank = loop.shape.length;
  return kernelStep(
    {
      key: `copy/${mode}/${width}/${rank}`,
      features,
      args: [
        argument.buffer(region.input),
        argument.buffer(context.output),
        ...[region.inputOffset, region.outputOffset, extent, from, to, ...stridedSizes(loop)].map(
          argument.i32,
        ),
      ],
      units: sizeOf(loop.shape),
      grain: 65536 / Math.min(extent, blockElements),
    },
    (
      f,
      [source, target, sourceOffset, targetOffset, length, sourceStride, targetStride, ...sizes],
      range,
    ) => {
      const shift = Math.log2(width);
      const [sourceStart, targetStart] = [
        f.let(i32.add(source, i32.shl(sourceOffset ?? 0, shift))),
        f.let(i32.add(target, i32.shl(targetOffset ?? 0, shift))),
      ];
      stridedLoop(f, range, stridedParameters(sizes, { rank, operands: 2 }), ({ indices, offsets }) => {
        const count = f.let(i32.sub(length ?? 0, i32.mul(indices.at(-1) ?? 0, blockElements)));
        f.if(i32.gtS(count, blockElements), () => f.set(count, blockElements));
        const run: Run = {
          source: f.let(i32.add(sourceStart, i32.shl(offsets[0] ?? 0, shift))),
          target: f.let(i32.add(targetStart, i32.shl(offsets[1] ?? 0, shift))),
          count,
          width,
        };
        if (mode === "run") copyRun(f, run);
        else if (mode === "repeat") repeatRun(f, run);
        else {
          const strides = [sourceStride ?? 0, targetStride ?? 0].map((s) => f.let(i32.shl(s, shift)));
          copyStrided(f, run, { source: strides[0] ?? 0, target: strides[1] ?? 0 });
        }
      });
    },
  );
}

/** The axis other than the last along which the input is contiguous, if both are long enough for tiles; else -1. */
function contiguousInputAxis({ shape, strides }: StridedShape): number {
  const axis = strides[0]?.slice(0, -1).indexOf(1) ?? -1;
  return axis >= 0 && (shape[axis] ?? 0) >= 4 && (shape.at(-1) ?? 0) >= 4 ? axis : -1;
}

function moveAxisToSecondLast({ shape, strides }: StridedShape, axis: number): StridedShape {
  const move = (list: readonly number[]) => [
    ...list.filter((_, i) => i !== axis && i !== list.length - 1),
    ...[axis, list.length - 1].map((i) => list[i] ?? 1),
  ];
  return { shape: move(shape), strides: strides.map(move) };
}

export interface Run {
  readonly source: Local<"i32">;
  readonly target: Local<"i32">;
  readonly count: Local<"i32">;
  readonly width: ElementBytes;
}

/** Copies one contiguous run: by the engine if long, else by 16 bytes with an overlapping end, else by elements. */
export function copyRun(f: FunctionBuilder, { source, target, count, width }: Run): void {
  const bytes = f.let(i32.shl(count, Math.log2(width)));
  const copyVector = (at: Value<"i32">) =>
    f.store("v128", i32.add(target, at), v128.load(i32.add(source, at)));
  f.if(
    i32.geU(bytes, longRunBytes),
    () => f.copyMemory(target, source, bytes),
    () =>
      f.if(
        i32.geU(bytes, 16),
        () => {
          const last = f.let(i32.sub(bytes, 16));
          f.for(0, last, 16, copyVector);
          copyVector(last);
        },
        () => f.for(0, bytes, width, (at) => copyElement(f, width, i32.add(target, at), i32.add(source, at))),
      ),
  );
}

/** Writes one element `count` times. */
function repeatRun(f: FunctionBuilder, { source, target, count, width }: Run): void {
  const element = loadElement(width, source);
  const splat =
    width === 4 ? i32x4.splat(element) : width === 2 ? i16x8.splat(element) : i8x16.splat(element);
  const vector = f.let(splat);
  const bytes = f.let(i32.shl(count, Math.log2(width)));
  const at = f.let(i32.const(0));
  f.advance(at, i32.sub(bytes, 15), 16, () => f.store("v128", i32.add(target, at), vector));
  f.advance(at, bytes, width, () => f.storeLane(laneBits(width), i32.add(target, at), vector, { lane: 0 }));
}

function copyStrided(
  f: FunctionBuilder,
  { source, target, count, width }: Run,
  strides: { source: Local<"i32"> | number; target: Local<"i32"> | number },
): void {
  f.for(0, count, 1, () => {
    copyElement(f, width, target, source);
    f.increase(source, strides.source);
    f.increase(target, strides.target);
  });
}

function laneBits(width: ElementBytes): 8 | 16 | 32 {
  return width === 4 ? 32 : width === 2 ? 16 : 8;
}
