import { argmaxKernel } from "../cpu/kernels/argmax.js";
import { cumsumKernel } from "../cpu/kernels/cumsum.js";
import { HeddleError } from "../error.js";
import type { Expression } from "../expression.js";
import { defineOp, type Op } from "../op.js";
import type { Combine, Reduction } from "../op-forms.js";
import type { HostArray } from "../reference/host-array.js";
import { evaluateExpression } from "../scalar.js";
import { broadcastOffsets, broadcastShapes, normalizeAxis, type Shape, sizeOf } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { cumsumWgsl } from "../wgsl/kernels/cumsum.js";
import { argExtremeWgsl } from "../wgsl/kernels/top-k.js";
import { elementwise, whereOp } from "./elementwise.js";
import { axisShapeOf } from "./kernel-shapes.js";
import { broadcastOp } from "./movement.js";

export interface ReduceParams {
  /** Ascending, 0..rank-1. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

export interface ReduceOptions {
  /** Axis or axes to reduce, negative from the end; default: all. */
  readonly axes?: number | readonly number[];
  /** Keep reduced axes with extent 1; default false. */
  readonly keepDims?: boolean;
}

/** Options as the ops take them: every axis in 0..rank-1, ascending. */
export function reduceParams(caller: string, x: Tensor, options: ReduceOptions): ReduceParams {
  const { axes = x.shape.map((_, axis) => axis), keepDims = false } = options;
  const list = (typeof axes === "number" ? [axes] : [...axes]).map((axis) =>
    normalizeAxis(caller, axis, x.shape.length),
  );
  if (new Set(list).size !== list.length) {
    throw new HeddleError(
      "shape",
      `${caller}: each axis may be named once; got axes [${list.join(", ")}]. Remove the repeated one.`,
      {
        axes: list,
      },
    );
  }
  return { axes: list.sort((a, b) => a - b), keepDims };
}

/** Shape after reduction, with or without the reduced axes. */
export function reducedShape(shape: Shape, { axes, keepDims }: ReduceParams): number[] {
  return shape.flatMap((extent, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [extent]));
}

const combiners: Readonly<Record<Combine, { start: number; join(a: number, b: number): number }>> = {
  sum: { start: 0, join: (a, b) => a + b },
  prod: { start: 1, join: (a, b) => a * b },
  max: { start: Number.NEGATIVE_INFINITY, join: (a, b) => (b > a || Number.isNaN(b) ? b : a) },
  min: { start: Number.POSITIVE_INFINITY, join: (a, b) => (b < a || Number.isNaN(b) ? b : a) },
};

/** Reduces element by element in float64: the readable twin of the reduction kernels. */
export function evaluateReduction(
  reduction: Reduction,
  inputs: readonly HostArray[],
  output: HostArray,
): void {
  const shape = broadcastShapes(
    "reduce",
    inputs.map((input) => input.shape),
  );
  const offsets = inputs.map((input) => broadcastOffsets(input.shape, shape));
  const kept = shape.map((extent, axis) => (reduction.axes.includes(axis) ? 1 : extent));
  const targets = broadcastOffsets(kept, shape);
  const { start, join } = combiners[reduction.combine];
  const totals = new Float64Array(sizeOf(kept)).fill(start);
  const values: number[] = [];
  const elements: number[] = [];
  for (let flat = 0; flat < targets.length; flat++) {
    for (let i = 0; i < inputs.length; i++) elements[i] = inputs[i]?.data[offsets[i]?.[flat] ?? 0] ?? 0;
    evaluateExpression(reduction.prologue, elements, values);
    const target = targets[flat] ?? 0;
    totals[target] = join(totals[target] ?? start, values[reduction.prologue.outputs[0] ?? 0] ?? 0);
  }
  totals.forEach((total, i) => {
    if (reduction.epilogue) evaluateExpression(reduction.epilogue, [total], values);
    output.data[i] = reduction.epilogue ? (values[reduction.epilogue.outputs[0] ?? 0] ?? 0) : total;
  });
}

type ReduceGrad = (x: Tensor, y: Tensor, g: Tensor, params: ReduceParams) => Tensor;

function defineReduction(name: Combine, grad: ReduceGrad): Op<ReduceParams> {
  const reduction = (x: { dtype: HostArray["dtype"] } | undefined, { axes }: ReduceParams): Reduction => {
    const prologue: Expression = {
      nodes: [{ op: "input", index: 0, dtype: x?.dtype ?? "f32" }],
      outputs: [0],
    };
    return { prologue, combine: name, axes };
  };
  return defineOp<ReduceParams>({
    name,
    infer([x], params) {
      const { shape, dtype } = x ?? { shape: [], dtype: "f32" as const };
      if (dtype === "bool") {
        throw new HeddleError(
          "dtype",
          `${name}: values must be numbers; got bool[${shape.join(", ")}]. Convert with \`.cast("i32")\`.`,
          {
            dtype,
          },
        );
      }
      return [{ shape: reducedShape(shape, params), dtype }];
    },
    reduction: ([x], params) => reduction(x, params),
    evaluate(inputs, [output], params) {
      if (output) evaluateReduction(reduction(inputs[0], params), inputs, output);
    },
    vjp({ inputs: [x], outputs: [y], grads: [g], params }) {
      if (x === undefined || y === undefined || g === undefined) return [];
      const keptShape = reducedShape(x.shape, { ...params, keepDims: true });
      return [grad(x, y.reshape(keptShape), g.reshape(keptShape), params)];
    },
  });
}

const spread = (g: Tensor, x: Tensor) => broadcastOp.call([g], { shape: x.shape });

/** The gradient goes to the extreme elements, in equal parts where several are equal. */
const extremeGrad: ReduceGrad = (x, y, g, { axes }) => {
  const isExtreme = elementwise("equal", x, y);
  const share = isExtreme.cast(x.dtype).sum({ axes, keepDims: true });
  return whereOp(isExtreme, spread(g.div(share), x), 0);
};

/** Each factor's gradient is the product of the others, computed without dividing by a factor that may be zero. */
const prodGrad: ReduceGrad = (x, _y, g, { axes }) => {
  const isZero = elementwise("equal", x, 0);
  const zeros = isZero.cast(x.dtype).sum({ axes, keepDims: true });
  const product = whereOp(isZero, 1, x).prod({ axes, keepDims: true });
  const noZero = elementwise("equal", zeros, 0);
  const oneZero = elementwise("equal", zeros, 1);
  const others = whereOp(
    isZero,
    whereOp(oneZero, product, 0),
    whereOp(noZero, product, 0).div(whereOp(isZero, 1, x)),
  );
  return g.mul(others);
};

export const sumOp = defineReduction("sum", (x, _y, g) => spread(g, x));
export const maxOp = defineReduction("max", extremeGrad);
export const minOp = defineReduction("min", extremeGrad);
export const prodOp = defineReduction("prod", prodGrad);

/** The lines of one axis: how many elements, and how many lines before and behind. */
const linesOf = (shape: Shape, axis: number) => ({
  outer: sizeOf(shape.slice(0, axis)),
  extent: shape[axis] ?? 1,
  inner: sizeOf(shape.slice(axis + 1)),
});

function defineArg(
  name: "argmax" | "argmin",
  better: (a: number, b: number) => boolean,
): Op<{ axis: number; keepDims: boolean }> {
  return defineOp({
    name,
    infer([x], { axis, keepDims }) {
      const shape = x?.shape ?? [];
      if (shape[axis] === 0) {
        throw new HeddleError(
          "shape",
          `${name}: the axis must not be empty; got shape [${shape.join(", ")}], axis ${axis}. Check the input's length first.`,
          {
            shape,
            axis,
          },
        );
      }
      return [{ shape: reducedShape(shape, { axes: [axis], keepDims }), dtype: "i32" as const }];
    },
    evaluate([x], [output], { axis }) {
      if (!x || !output) return;
      const extent = x.shape[axis] ?? 1;
      const inner = sizeOf(x.shape.slice(axis + 1));
      for (let i = 0; i < output.data.length; i++) {
        const base = Math.floor(i / inner) * extent * inner + (i % inner);
        let best = 0;
        for (let j = 1; j < extent; j++) {
          const [value = 0, current = 0] = [x.data[base + j * inner], x.data[base + best * inner]];
          if (better(value, current) || (Number.isNaN(value) && !Number.isNaN(current))) best = j;
        }
        output.data[i] = best;
      }
    },
    kernels: {
      wasm({ inputs: [x], params: { axis } }, features) {
        const shape = axisShapeOf(x, axis);
        return shape && argmaxKernel(name === "argmax" ? "max" : "min", shape, features);
      },
      wgsl: ({ inputs: [x], params: { axis } }) =>
        x && argExtremeWgsl(x, linesOf(x.shape, axis), name === "argmax" ? "max" : "min"),
    },
  });
}

export const argmaxOp = defineArg("argmax", (a, b) => a > b);
export const argminOp = defineArg("argmin", (a, b) => a < b);

/** Running sum along one axis. */
export const cumsumOp: Op<{ axis: number; reverse: boolean }> = defineOp({
  name: "cumsum",
  infer: ([x]) => [{ shape: x?.shape ?? [], dtype: x?.dtype ?? "f32" }],
  evaluate([x], [output], { axis, reverse }) {
    if (!x || !output) return;
    const extent = x.shape[axis] ?? 1;
    const inner = sizeOf(x.shape.slice(axis + 1));
    for (let line = 0; line < sizeOf(x.shape) / Math.max(extent, 1); line++) {
      const base = Math.floor(line / inner) * extent * inner + (line % inner);
      let total = 0;
      for (let j = 0; j < extent; j++) {
        const at = base + (reverse ? extent - 1 - j : j) * inner;
        total += x.data[at] ?? 0;
        output.data[at] = total;
      }
    }
  },
  vjp: ({ grads: [g], params }) => [g && cumsumOp.call([g], { axis: params.axis, reverse: !params.reverse })],
  kernels: {
    wasm({ inputs: [x], params: { axis, reverse } }, features) {
      const shape = axisShapeOf(x, axis);
      return shape && cumsumKernel({ ...shape, reverse }, features);
    },
    wgsl: ({ inputs: [x], params: { axis, reverse } }) =>
      x && cumsumWgsl(x, { ...linesOf(x.shape, axis), reverse }),
  },
});
