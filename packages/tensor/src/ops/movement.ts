import { HeddleError } from "../error.js";
import { defineOp, type Op, type OpSpec } from "../op.js";
import type { Copies, CopyRegion } from "../op-forms.js";
import type { HostArray } from "../reference/host-array.js";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  formatType,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridedOffsets,
  stridesOf,
  type TensorType,
} from "../shape.js";
import type { Tensor } from "../tensor.js";
import { sumTo } from "./sum-to.js";

/** Copies strided boxes element by element: the readable twin of the copy kernels. */
export function evaluateCopies(copies: Copies, inputs: readonly HostArray[], output: HostArray): void {
  if (copies.fill !== undefined) output.data.fill(copies.fill);
  for (const region of copies.regions) {
    const from = inputs[region.input]?.data ?? [];
    const sources = stridedOffsets(region.shape, region.inputStrides, region.inputOffset);
    const targets = stridedOffsets(region.shape, region.outputStrides, region.outputOffset);
    for (let i = 0; i < sources.length; i++) output.data[targets[i] ?? 0] = from[sources[i] ?? 0] ?? 0;
  }
}

function defineMovement<Params>(
  spec: OpSpec<Params> & {
    copies(inputs: readonly TensorType[], output: TensorType, params: Params): Copies;
  },
): Op<Params> {
  return defineOp({
    ...spec,
    evaluate(inputs, [output], params) {
      if (output) evaluateCopies(spec.copies(inputs, output, params), inputs, output);
    },
  });
}

function wholeCopy(input: TensorType): CopyRegion {
  const strides = stridesOf(input.shape);
  return {
    input: 0,
    shape: input.shape,
    inputOffset: 0,
    inputStrides: strides,
    outputOffset: 0,
    outputStrides: strides,
  };
}

export const reshapeOp: Op<{ readonly shape: Shape }> = defineMovement({
  name: "reshape",
  alias: true,
  infer([x], { shape }) {
    const size = sizeOf(x?.shape ?? []);
    const known = sizeOf(shape.filter((extent) => extent !== -1));
    const resolved = shape.map((extent) => (extent === -1 && known > 0 ? size / known : extent));
    const unknowns = shape.filter((extent) => extent === -1).length;
    if (
      unknowns > 1 ||
      sizeOf(resolved) !== size ||
      resolved.some((extent) => !Number.isInteger(extent) || extent < 0)
    ) {
      throw new HeddleError(
        "shape",
        `reshape: the new shape must hold the same ${size} elements, with at most one -1; got ${formatShape(x?.shape ?? [])} to ${formatShape(shape)}. Choose extents whose product is ${size}.`,
        { from: x?.shape, to: shape },
      );
    }
    return [{ shape: resolved, dtype: x?.dtype ?? "f32" }];
  },
  copies: ([x]) => ({ regions: x ? [wholeCopy({ shape: [sizeOf(x.shape)], dtype: x.dtype })] : [] }),
  vjp: ({ inputs: [x], grads: [g] }) => [x && g && reshapeOp.call([g], { shape: x.shape })],
});

export const transposeOp: Op<{ readonly permutation: readonly number[] }> = defineMovement({
  name: "transpose",
  infer([x], { permutation }) {
    const shape = x?.shape ?? [];
    const seen = [...permutation].sort((a, b) => a - b);
    if (permutation.length !== shape.length || seen.some((axis, i) => axis !== i)) {
      throw new HeddleError(
        "shape",
        `transpose: the permutation must name each of the ${shape.length} axes once; got [${permutation.join(", ")}] for shape ${formatShape(shape)}. Leave it out to reverse the last two axes.`,
        { permutation, shape },
      );
    }
    return [{ shape: permutation.map((axis) => shape[axis] ?? 1), dtype: x?.dtype ?? "f32" }];
  },
  copies([x], output, { permutation }) {
    const strides = stridesOf(x?.shape ?? []);
    const inputStrides = permutation.map((axis) => strides[axis] ?? 0);
    const outputStrides = stridesOf(output.shape);
    return {
      regions: [
        { input: 0, shape: output.shape, inputOffset: 0, inputStrides, outputOffset: 0, outputStrides },
      ],
    };
  },
  vjp({ grads: [g], params: { permutation } }) {
    const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
    return [g && transposeOp.call([g], { permutation: inverse })];
  },
});

export const broadcastOp: Op<{ readonly shape: Shape }> = defineMovement({
  name: "broadcastTo",
  infer([x], { shape }) {
    const from = x?.shape ?? [];
    if (!sameShape(broadcastShapes("broadcastTo", [from, shape]), shape)) {
      throw new HeddleError(
        "shape",
        `broadcastTo: the target must be what broadcasting gives; got ${formatShape(from)} to ${formatShape(shape)}. Each axis of the tensor must be 1 or equal the target's.`,
        { from, to: shape },
      );
    }
    return [{ shape, dtype: x?.dtype ?? "f32" }];
  },
  copies: ([x], output) => ({
    regions: [
      {
        input: 0,
        shape: output.shape,
        inputOffset: 0,
        inputStrides: broadcastStrides(x?.shape ?? [], output.shape),
        outputOffset: 0,
        outputStrides: stridesOf(output.shape),
      },
    ],
  }),
  vjp: ({ inputs: [x], grads: [g] }) => [x && g && sumTo(g, x.shape)],
});

export interface SliceParams {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps: readonly number[];
}

export const sliceOp: Op<SliceParams> = defineMovement({
  name: "slice",
  infer([x], { starts, sizes, steps }) {
    const shape = x?.shape ?? [];
    const fits = shape.every((extent, axis) => {
      const [start = 0, size = 0, step = 1] = [starts[axis], sizes[axis], steps[axis]];
      return start >= 0 && size >= 0 && step >= 1 && (size === 0 || start + (size - 1) * step < extent);
    });
    if (!fits || [starts, sizes, steps].some((list) => list.length !== shape.length)) {
      throw new HeddleError(
        "shape",
        `slice: starts, sizes and steps need one entry per axis and must stay inside; got shape ${formatShape(shape)}, starts ${formatShape(starts)}, sizes ${formatShape(sizes)}, steps ${formatShape(steps)}. Keep start + (size - 1) * step below the extent.`,
        { shape, starts, sizes, steps },
      );
    }
    return [{ shape: sizes, dtype: x?.dtype ?? "f32" }];
  },
  copies([x], output, { starts, steps }) {
    const strides = stridesOf(x?.shape ?? []);
    return {
      regions: [
        {
          input: 0,
          shape: output.shape,
          inputOffset: starts.reduce((sum, start, axis) => sum + start * (strides[axis] ?? 0), 0),
          inputStrides: strides.map((stride, axis) => stride * (steps[axis] ?? 1)),
          outputOffset: 0,
          outputStrides: stridesOf(output.shape),
        },
      ],
    };
  },
  vjp: ({ inputs: [x], grads: [g], params }) => [
    x && g && padOp.call([g], { shape: x.shape, starts: params.starts, steps: params.steps, value: 0 }),
  ],
});

export interface PadParams {
  /** Shape of the result. */
  readonly shape: Shape;
  /** Where the input's first element goes, and the distance between its elements, on each axis. */
  readonly starts: readonly number[];
  readonly steps: readonly number[];
  readonly value: number;
}

export const padOp: Op<PadParams> = defineMovement({
  name: "pad",
  infer: ([x], { shape }) => [{ shape, dtype: x?.dtype ?? "f32" }],
  copies([x], output, { starts, steps, value }) {
    const strides = stridesOf(output.shape);
    const shape = x?.shape ?? [];
    return {
      fill: value,
      regions: [
        {
          input: 0,
          shape,
          inputOffset: 0,
          inputStrides: stridesOf(shape),
          outputOffset: starts.reduce((sum, start, axis) => sum + start * (strides[axis] ?? 0), 0),
          outputStrides: strides.map((stride, axis) => stride * (steps[axis] ?? 1)),
        },
      ],
    };
  },
  vjp: ({ inputs: [x], grads: [g], params }) => [
    x && g && sliceOp.call([g], { starts: params.starts, sizes: x.shape, steps: params.steps }),
  ],
});

export const concatOp: Op<{ readonly axis: number }> = defineMovement({
  name: "concat",
  infer(inputs, { axis }) {
    const [first] = inputs;
    const base = first?.shape ?? [];
    const along = normalizeAxis("concat", axis, base.length);
    for (const input of inputs) {
      const agrees =
        input.shape.length === base.length && input.shape.every((n, i) => i === along || n === base[i]);
      if (!agrees || input.dtype !== first?.dtype) {
        throw new HeddleError(
          "shape",
          `concat: tensors must agree in dtype and in every axis but axis ${axis}; got ${inputs.map(formatType).join(", ")}. Reshape or cast them first.`,
          { inputs: inputs.map(formatType), axis },
        );
      }
    }
    const extent = inputs.reduce((sum, input) => sum + (input.shape[along] ?? 0), 0);
    return [{ shape: base.map((n, i) => (i === along ? extent : n)), dtype: first?.dtype ?? "f32" }];
  },
  copies(inputs, output, { axis }) {
    const along = normalizeAxis("concat", axis, output.shape.length);
    const outputStrides = stridesOf(output.shape);
    let start = 0;
    const regions = inputs.map((input, i): CopyRegion => {
      const outputOffset = start * (outputStrides[along] ?? 0);
      start += input.shape[along] ?? 0;
      const inputStrides = stridesOf(input.shape);
      return { input: i, shape: input.shape, inputOffset: 0, inputStrides, outputOffset, outputStrides };
    });
    return { regions };
  },
  vjp({ inputs, grads: [g], params, needed }) {
    if (g === undefined) return [];
    const axis = normalizeAxis("concat", params.axis, g.shape.length);
    let start = 0;
    return inputs.map((input, i) => {
      const from = start;
      start += input.shape[axis] ?? 0;
      return needed[i] ? sliceAxis(g, axis, from, start) : undefined;
    });
  },
});

/** Elements start..end-1 along one axis, all of the others. */
export function sliceAxis(x: Tensor, axis: number, start: number, end: number): Tensor {
  return sliceOp.call([x], {
    starts: x.shape.map((_, i) => (i === axis ? start : 0)),
    sizes: x.shape.map((extent, i) => (i === axis ? end - start : extent)),
    steps: x.shape.map(() => 1),
  });
}
