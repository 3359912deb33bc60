import { copyKernel } from "../cpu/kernels/copy.js";
import { gatherKernel, scatterAddKernel } from "../cpu/kernels/gather.js";
import { takeGradKernel, takeKernel } from "../cpu/kernels/take.js";
import { topKKernel } from "../cpu/kernels/top-k.js";
import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import type { CopyRegion } from "../op-forms.js";
import { formatType, type Shape, sizeOf, stridesOf, type TensorType } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { copyWgsl } from "../wgsl/kernels/copy.js";
import { gatherWgsl, scatterAddWgsl, takeGradWgsl, takeWgsl } from "../wgsl/kernels/take.js";
import { topKWgsl } from "../wgsl/kernels/top-k.js";
import { bufferAt } from "../wgsl/step.js";
import { fillLike } from "./fill.js";
import { axisShapeOf, laneDTypeOf } from "./kernel-shapes.js";

export interface AxisParams {
  /** 0..rank-1. */
  readonly axis: number;
}

/** Extents before, along and after one axis. */
export function splitAtAxis(shape: Shape, axis: number): { outer: number; extent: number; inner: number } {
  return {
    outer: sizeOf(shape.slice(0, axis)),
    extent: shape[axis] ?? 1,
    inner: sizeOf(shape.slice(axis + 1)),
  };
}

function checkIndices(caller: string, indices: TensorType | undefined): void {
  if (indices && indices.dtype !== "i32" && indices.dtype !== "u32") {
    throw new HeddleError(
      "dtype",
      `${caller}: indices must be i32 or u32; got ${formatType(indices)}. Convert them with \`.cast("i32")\`.`,
      { dtype: indices.dtype },
    );
  }
}

/** Slices of x named by indices along one axis; an index out of range gives zeros. */
export const takeOp: Op<AxisParams> = defineOp({
  name: "take",
  infer([x, indices], { axis }) {
    checkIndices("take", indices);
    if (!x || !indices) return [];
    return [
      { shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], dtype: x.dtype },
    ];
  },
  evaluate([x, indices], [output], { axis }) {
    if (!x || !indices || !output) return;
    const { outer, extent, inner } = splitAtAxis(x.shape, axis);
    const count = indices.data.length;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const index = indices.data[i] ?? -1;
        if (index < 0 || index >= extent) continue;
        const from = (o * extent + index) * inner;
        output.data.set(x.data.subarray(from, from + inner), (o * count + i) * inner);
      }
    }
  },
  vjp({ inputs: [x, indices], grads: [g], params: { axis } }) {
    return x && indices && g ? [takeGradOp.call([g, indices], { axis, shape: x.shape })] : [];
  },
  kernels: {
    wasm({ inputs: [x, indices], params: { axis } }, features) {
      const shape = axisShapeOf(x, axis);
      return shape && indices && takeKernel({ ...shape, count: sizeOf(indices.shape) }, features);
    },
    wgsl({ inputs: [x, indices], params: { axis } }) {
      if (!x || !indices) return undefined;
      return takeWgsl([x, indices], { ...splitAtAxis(x.shape, axis), count: sizeOf(indices.shape) });
    },
  },
});

/** Gradient of `take`: adds each slice of the gradient to the slice that it was read from. */
export const takeGradOp: Op<AxisParams & { readonly shape: Shape }> = defineOp({
  name: "takeGrad",
  infer: ([g], { shape }) => [{ shape, dtype: g?.dtype ?? "f32" }],
  evaluate([g, indices], [output], { axis, shape }) {
    if (!g || !indices || !output) return;
    const { outer, extent, inner } = splitAtAxis(shape, axis);
    const count = indices.data.length;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const index = indices.data[i] ?? -1;
        if (index < 0 || index >= extent) continue;
        for (let j = 0; j < inner; j++) {
          const at = (o * extent + index) * inner + j;
          output.data[at] = (output.data[at] ?? 0) + (g.data[(o * count + i) * inner + j] ?? 0);
        }
      }
    }
  },
  vjp: ({ inputs: [, indices], grads: [g], params: { axis } }) => [
    g && indices && takeOp.call([g, indices], { axis }),
  ],
  kernels: {
    wasm({ inputs: [g, indices], params: { axis, shape } }, features) {
      const around = g && axisShapeOf({ shape, dtype: g.dtype }, axis);
      return around && indices && takeGradKernel({ ...around, count: sizeOf(indices.shape) }, features);
    },
    wgsl({ inputs: [g, indices], params: { axis, shape } }) {
      if (!g || !indices) return undefined;
      return takeGradWgsl([g, indices], { ...splitAtAxis(shape, axis), count: sizeOf(indices.shape) });
    },
  },
});

function checkSameRank(caller: string, x: TensorType, indices: TensorType, axis: number): void {
  const agrees =
    x.shape.length === indices.shape.length &&
    x.shape.every((n, i) => i === axis || (indices.shape[i] ?? 0) <= n);
  if (!agrees) {
    throw new HeddleError(
      "shape",
      `${caller}: indices must have the rank of x and, off axis ${axis}, no larger extents; got x ${formatType(x)}, indices ${formatType(indices)}. Broadcast the indices first.`,
      { x: x.shape, indices: indices.shape, axis },
    );
  }
}

/** Position in x of each element of `indices`, or -1 where the index is out of range. */
function* pickedPositions(
  x: Shape,
  indices: { shape: Shape; data: ArrayLike<number> },
  axis: number,
): Generator<number> {
  const rank = x.length;
  const counter = new Array<number>(rank).fill(0);
  for (let flat = 0; flat < indices.data.length; flat++) {
    let position = 0;
    let inside = true;
    for (let i = 0; i < rank; i++) {
      const index = i === axis ? (indices.data[flat] ?? -1) : (counter[i] ?? 0);
      inside &&= index >= 0 && index < (x[i] ?? 1);
      position = position * (x[i] ?? 1) + index;
    }
    yield inside ? position : -1;
    for (let i = rank - 1; i >= 0; i--) {
      counter[i] = (counter[i] ?? 0) + 1;
      if ((counter[i] ?? 0) < (indices.shape[i] ?? 1)) break;
      counter[i] = 0;
    }
  }
}

/** y[i][j] = x[indices[i][j]][j] for axis 0: picks one element of x per index. An index out of range gives 0. */
export const gatherOp: Op<AxisParams> = defineOp({
  name: "gather",
  infer([x, indices], { axis }) {
    checkIndices("gather", indices);
    if (!x || !indices) return [];
    checkSameRank("gather", x, indices, axis);
    return [{ shape: indices.shape, dtype: x.dtype }];
  },
  evaluate([x, indices], [output], { axis }) {
    if (!x || !indices || !output) return;
    let flat = 0;
    for (const position of pickedPositions(x.shape, indices, axis)) {
      if (position >= 0) output.data[flat] = x.data[position] ?? 0;
      flat++;
    }
  },
  vjp({ inputs: [x, indices], grads: [g], params }) {
    return x && indices && g
      ? [scatterAddOp.call([fillLike(g, 0, { shape: x.shape }), indices, g], params)]
      : [];
  },
  kernels: {
    wasm({ inputs: [x, indices], params: { axis } }, features) {
      const dtype = laneDTypeOf(x);
      if (!x || !indices || !dtype) return undefined;
      return gatherKernel({ shape: x.shape, indices: indices.shape, axis, dtype }, features);
    },
    wgsl: ({ inputs: [x, indices], params: { axis } }) => x && indices && gatherWgsl({ x, indices, axis }),
  },
});

/** x plus each update at the place that its index names: the reverse of gather. An index out of range is ignored. */
export const scatterAddOp: Op<AxisParams> = defineOp({
  name: "scatterAdd",
  infer([x, indices, updates], { axis }) {
    checkIndices("scatterAdd", indices);
    if (!x || !indices || !updates) return [];
    checkSameRank("scatterAdd", x, indices, axis);
    if (updates.dtype !== x.dtype || sizeOf(updates.shape) !== sizeOf(indices.shape)) {
      throw new HeddleError(
        "shape",
        `scatterAdd: updates need the shape of the indices and the dtype of x; got x ${formatType(x)}, indices ${formatType(indices)}, updates ${formatType(updates)}. Reshape or cast the updates.`,
        { x: x.shape, indices: indices.shape, updates: updates.shape },
      );
    }
    return [{ shape: x.shape, dtype: x.dtype }];
  },
  evaluate([x, indices, updates], [output], { axis }) {
    if (!x || !indices || !updates || !output) return;
    output.data.set(x.data);
    let flat = 0;
    for (const position of pickedPositions(x.shape, indices, axis)) {
      if (position >= 0) output.data[position] = (output.data[position] ?? 0) + (updates.data[flat] ?? 0);
      flat++;
    }
  },
  vjp({ inputs: [, indices], grads: [g], params, needed }) {
    if (!indices || !g) return [];
    return [
      needed[0] ? g : undefined,
      undefined,
      needed[2] ? gatherOp.call([g, indices], params) : undefined,
    ];
  },
  kernels: {
    wasm({ inputs: [x, indices], params: { axis } }, features) {
      const dtype = laneDTypeOf(x);
      if (!x || !indices || !dtype) return undefined;
      return scatterAddKernel({ shape: x.shape, indices: indices.shape, axis, dtype }, features);
    },
    wgsl: ({ inputs: [x, indices], params: { axis } }) =>
      x && indices && scatterAddWgsl({ x, indices, axis }),
  },
});

export interface TopKParams {
  readonly k: number;
  readonly largest: boolean;
}

/** The k largest (or smallest) values of the last axis in order, and where they were. Equal values keep their order. */
export const topKOp: Op<TopKParams> = defineOp({
  name: "topK",
  infer([x], { k }) {
    const shape = x?.shape ?? [];
    const extent = shape.at(-1) ?? 0;
    if (!Number.isInteger(k) || k < 0 || k > extent || shape.length === 0) {
      throw new HeddleError(
        "shape",
        `topK: k must be a whole number from 0 to the axis' extent; got k ${k}, extent ${extent}. Clamp k with Math.min.`,
        { k, shape },
      );
    }
    const out = [...shape.slice(0, -1), k];
    return [
      { shape: out, dtype: x?.dtype ?? "f32" },
      { shape: out, dtype: "i32" },
    ];
  },
  evaluate([x], [values, indices], { k, largest }) {
    if (!x || !values || !indices) return;
    const extent = x.shape.at(-1) ?? 1;
    for (let row = 0; row < x.data.length / Math.max(extent, 1); row++) {
      const line = x.data.subarray(row * extent, (row + 1) * extent);
      const order = Array.from(line.keys()).sort((i, j) => {
        const [a = 0, b = 0] = [line[i], line[j]];
        if (Number.isNaN(a) || Number.isNaN(b)) return (Number.isNaN(b) ? 1 : 0) - (Number.isNaN(a) ? 1 : 0);
        return a === b ? i - j : (a < b ? 1 : -1) * (largest ? 1 : -1);
      });
      for (let j = 0; j < k; j++) {
        values.data[row * k + j] = line[order[j] ?? 0] ?? 0;
        indices.data[row * k + j] = order[j] ?? 0;
      }
    }
  },
  vjp({ inputs: [x], outputs: [, indices], grads: [g] }) {
    if (!x || !indices || !g) return [];
    return [
      scatterAddOp.call([fillLike(g, 0, { shape: x.shape }), indices, g], { axis: x.shape.length - 1 }),
    ];
  },
  kernels: {
    wasm({ inputs: [x], params }, features) {
      const dtype = laneDTypeOf(x);
      if (!x || !dtype || params.k === 0) return undefined;
      const columns = x.shape.at(-1) ?? 1;
      return topKKernel({ rows: sizeOf(x.shape) / columns, columns, dtype, ...params }, features);
    },
    wgsl: ({ inputs: [x], params }) => x && topKWgsl(x, params),
  },
});

/** Where the value (input 1) goes in the target. */
function writtenRegion(target: TensorType, value: TensorType, starts: readonly number[]): CopyRegion {
  const outputStrides = stridesOf(target.shape);
  return {
    input: 1,
    shape: value.shape,
    inputOffset: 0,
    inputStrides: stridesOf(value.shape),
    outputOffset: starts.reduce((sum, start, axis) => sum + start * (outputStrides[axis] ?? 0), 0),
    outputStrides,
  };
}

/** Writes the values into `target` at `starts`, in place. */
export const writeIntoOp: Op<{ readonly starts: readonly number[] }> = defineOp({
  name: "writeInto",
  mutates: [0],
  infer([target, value], { starts }) {
    if (!target || !value) return [];
    const fits =
      target.shape.length === value.shape.length &&
      target.dtype === value.dtype &&
      target.shape.every((n, i) => (starts[i] ?? 0) >= 0 && (starts[i] ?? 0) + (value.shape[i] ?? 0) <= n);
    if (!fits) {
      throw new HeddleError(
        "shape",
        `writeInto: the value must have the target's rank and dtype and fit at starts; got target ${formatType(target)}, value ${formatType(value)}, starts [${starts.join(", ")}]. Reshape or slice the value.`,
        { target: target.shape, value: value.shape, starts },
      );
    }
    return [];
  },
  evaluate([target, value], _outputs, { starts }) {
    if (!target || !value) return;
    let flat = 0;
    const counter = value.shape.map(() => 0);
    for (; flat < value.data.length; flat++) {
      const at = target.shape.reduce((sum, n, i) => sum * n + (starts[i] ?? 0) + (counter[i] ?? 0), 0);
      target.data[at] = value.data[flat] ?? 0;
      for (let i = counter.length - 1; i >= 0; i--) {
        counter[i] = (counter[i] ?? 0) + 1;
        if ((counter[i] ?? 0) < (value.shape[i] ?? 1)) break;
        counter[i] = 0;
      }
    }
  },
  kernels: {
    wasm({ inputs: [target, value], params: { starts } }, features) {
      const dtype = laneDTypeOf(target);
      if (!target || !value || !dtype) return undefined;
      // Buffer 0 is the target: no inputs come before the "output".
      return copyKernel(
        { regions: [writtenRegion(target, value, starts)] },
        { dtype, inputs: 0, outputElements: sizeOf(target.shape) },
        features,
      );
    },
    wgsl({ inputs: [target, value], params: { starts } }) {
      if (!target || !value) return undefined;
      const { dtype, shape } = target;
      return copyWgsl(
        { regions: [writtenRegion(target, value, starts)] },
        { dtype, memory: bufferAt(0), elements: sizeOf(shape) },
      );
    },
  },
});

/**
 * Replaces part of `target` by `value`, in place: the one way in which a tensor's values change.
 *
 * Shapes: target [..], value of the same rank and dtype; `starts[i]` is where it begins on axis i, in elements, default 0.
 * Not differentiable: a traced target or value is an error under `valueAndGrad`.
 * @throws HeddleError "shape" if the value does not fit or has another dtype, "unsupported" if the target is a constant of a
 * function that compile traces
 */
export function writeInto(
  target: Tensor,
  value: Tensor,
  options: { readonly starts?: readonly number[] } = {},
): void {
  writeIntoOp.apply([target, value], { starts: options.starts ?? target.shape.map(() => 0) });
}
