import { isFloat } from "../../dtype.js";
import { sizeOf, type TensorType } from "../../shape.js";
import type { WgslKernel } from "../kernel.js";
import { type BufferUse, bufferAt, scratchAt, wgslStep } from "../step.js";
import { castStep } from "./cast.js";

/** A tensor around one axis, and how many indices there are. */
export interface TakeExtents {
  readonly outer: number;
  readonly extent: number;
  readonly inner: number;
  readonly count: number;
}

const read = (name: string, index: number, { dtype }: TensorType): BufferUse => ({
  name,
  memory: bufferAt(index),
  dtype,
  access: "read",
});

/**
 * Copies the slices that indices name: y[o, i, :] = x[o, indices[i], :]; an index out of range gives zeros.
 *
 * Buffers: x [outer, extent, inner], indices [count], y [outer, count, inner].
 */
export function takeWgsl([x, indices]: readonly [TensorType, TensorType], extents: TakeExtents): WgslKernel {
  const { outer, extent, inner, count } = extents;
  const size = outer * count * inner;
  const zero = x.dtype === "bool" ? "false" : isFloat(x.dtype) ? "0.0" : "0";
  const step = wgslStep({
    buffers: [read("x", 0, x), read("indices", 1, indices), { ...read("y", 2, x), access: "write" }],
    params: { size, extent, inner, count },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  let row = i / P.inner;
  let index = u32(load_indices(row % P.count));
  let at = ((row / P.count) * P.extent + min(index, P.extent - 1u)) * P.inner + i % P.inner;
  if (index < P.extent) { store_y(i, load_x(at)); } else { store_y(i, ${zero}); }`,
  });
  return { steps: [step] };
}

/**
 * Gradient of `take`: adds each slice of g to the slice that it was read from. A thread owns a column, so that repeated
 * indices add up in their order and twice the same run gives twice the same bits.
 *
 * Buffers: g [outer, count, inner], indices [count], result [outer, extent, inner].
 */
export function takeGradWgsl(
  [g, indices]: readonly [TensorType, TensorType],
  extents: TakeExtents,
): WgslKernel {
  const { outer, extent, inner, count } = extents;
  const size = outer * extent * inner;
  const wide = isFloat(g.dtype) ? "f32" : g.dtype === "u8" || g.dtype === "u32" ? "u32" : "i32";
  const isWide = wide === g.dtype;
  const memory = isWide ? bufferAt(2) : scratchAt(0);
  const clear = wgslStep({
    buffers: [{ name: "y", memory, dtype: wide, access: "write" }],
    params: { size },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i < P.size) { y[i] = ${wide}(0); }`,
  });
  const add = wgslStep({
    buffers: [
      read("g", 0, g),
      read("indices", 1, indices),
      { name: "y", memory, dtype: wide, access: "readWrite" },
    ],
    params: { columns: outer * inner, extent, inner, count },
    threads: 64,
    groups: Math.ceil((outer * inner) / 64),
    body: `  let column = group * 64u + thread;
  if (column >= P.columns) { return; }
  let source = (column / P.inner) * P.count * P.inner + column % P.inner;
  let to = (column / P.inner) * P.extent * P.inner + column % P.inner;
  for (var i = 0u; i < P.count; i++) {
    let index = u32(load_indices(i));
    if (index < P.extent) { y[to + index * P.inner] += load_g(source + i * P.inner); }
  }`,
  });
  if (isWide) return { steps: [clear, add] };
  return {
    steps: [clear, add, castStep(memory, { memory: bufferAt(2), wide, dtype: g.dtype, size })],
    scratch: [size * 4],
  };
}

export interface PickCall {
  readonly x: TensorType;
  readonly indices: TensorType;
  readonly axis: number;
}

/** Statements that find the position in x of element `i` of the indices, and whether it lies inside. */
function pickedCode({ x, indices, axis }: PickCall): { code: string; params: Record<string, number> } {
  const params: Record<string, number> = {};
  const lines = ["  var rest = i;", "  var at = 0u;", "  let index = u32(load_indices(i));"];
  let stride = 1;
  for (let d = x.shape.length - 1; d >= 0; d--) {
    params[`n${d}`] = indices.shape[d] ?? 1;
    params[`s${d}`] = stride;
    lines.push(
      `  at += ${d === axis ? "min(index, P.extent - 1u)" : `(rest % P.n${d})`} * P.s${d};`,
      `  rest = rest / P.n${d};`,
    );
    stride *= x.shape[d] ?? 1;
  }
  lines.push("  let isInside = index < P.extent;");
  params.extent = x.shape[axis] ?? 1;
  return { code: lines.join("\n"), params };
}

/** Picks one element of x for each index along an axis. Buffers: x, indices, y (shaped as the indices). */
export function gatherWgsl(call: PickCall): WgslKernel {
  const { x, indices } = call;
  const size = sizeOf(indices.shape);
  const { code, params } = pickedCode(call);
  const zero = x.dtype === "bool" ? "false" : isFloat(x.dtype) ? "0.0" : "0";
  const step = wgslStep({
    buffers: [read("x", 0, x), read("indices", 1, indices), { ...read("y", 2, x), access: "write" }],
    params: { size, ...params },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
${code}
  if (isInside) { store_y(i, load_x(at)); } else { store_y(i, ${zero}); }`,
  });
  return { steps: [step] };
}

/**
 * x plus each update at the place that its index names. A thread owns a line along the axis, so that updates of one place add
 * up in their order. Buffers: x, indices, updates, y (shaped as x).
 */
export function scatterAddWgsl(call: PickCall): WgslKernel {
  const { x, indices, axis } = call;
  const size = sizeOf(x.shape);
  const wide = isFloat(x.dtype) ? "f32" : x.dtype === "u8" || x.dtype === "u32" ? "u32" : "i32";
  const isWide = wide === x.dtype;
  const memory = isWide ? bufferAt(3) : scratchAt(0);
  const start = castStep(bufferAt(0), { memory, wide: x.dtype, dtype: wide, size });
  const along = indices.shape[axis] ?? 1;
  const inner = sizeOf(indices.shape.slice(axis + 1));
  const lines = along === 0 ? 0 : sizeOf(indices.shape) / along;
  const { code, params } = pickedCode(call);
  const add = wgslStep({
    buffers: [
      read("indices", 1, indices),
      { ...read("updates", 2, x) },
      { name: "y", memory, dtype: wide, access: "readWrite" },
    ],
    params: { lines, along, inner, ...params },
    threads: 64,
    groups: Math.ceil(lines / 64),
    body: `  let line = group * 64u + thread;
  if (line >= P.lines) { return; }
  for (var j = 0u; j < P.along; j++) {
  let i = ((line / P.inner) * P.along + j) * P.inner + line % P.inner;
${code}
  if (isInside) { y[at] += load_updates(i); }
  }`,
  });
  if (isWide) return { steps: [start, add] };
  return {
    steps: [start, add, castStep(memory, { memory: bufferAt(3), wide, dtype: x.dtype, size })],
    scratch: [size * 4],
  };
}
