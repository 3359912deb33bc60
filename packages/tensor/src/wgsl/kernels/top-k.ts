import type { TensorType } from "../../shape.js";
import { sizeOf } from "../../shape.js";
import { valueType } from "../dtype.js";
import type { WgslKernel } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import { keepBestCode, orderCode } from "./order.js";

const threads = 256;

/** Selecting one by one reads the row k times; ranking compares every pair. */
const maxSelected = 64;

/**
 * The k first elements of each row in order, and where they were. Buffers: x [rows, n], values [rows, k], indices i32 [rows, k].
 *
 * Few are selected one after the other by a workgroup; for many, every element counts how many come before it.
 */
export function topKWgsl(x: TensorType, { k, largest }: { k: number; largest: boolean }): WgslKernel {
  const n = x.shape.at(-1) ?? 1;
  const rows = n === 0 ? 0 : sizeOf(x.shape) / n;
  // bool has no order in WGSL; its bits are read as u8.
  const dtype = x.dtype === "bool" ? "u8" : x.dtype;
  const type = valueType(dtype);
  const buffers = [
    { name: "x", memory: bufferAt(0), dtype, access: "read" },
    { name: "values", memory: bufferAt(1), dtype, access: "write" },
    { name: "indices", memory: bufferAt(2), dtype: "i32", access: "write" },
  ] as const;
  const params = { n, k, rows };
  const order = orderCode(type, largest);
  if (k > maxSelected) {
    const rank = wgslStep({
      buffers,
      params: { ...params, size: rows * n },
      groups: Math.ceil((rows * n) / threads),
      declarations: order,
      body: `  let at = group * ${threads}u + thread;
  if (at >= P.size) { return; }
  let row = at / P.n;
  let mine = load_x(at);
  let i = at - row * P.n;
  var rank = 0u;
  for (var j = 0u; j < P.n; j++) { rank += select(0u, 1u, before(load_x(row * P.n + j), j, mine, i)); }
  if (rank < P.k) { store_values(row * P.k + rank, mine); store_indices(row * P.k + rank, i32(i)); }`,
    });
    return { steps: [rank] };
  }
  const select = wgslStep({
    buffers,
    params,
    groups: k === 0 ? 0 : rows,
    declarations: `${order}
var<workgroup> bestValue: array<${type}, ${threads}>;
var<workgroup> bestIndex: array<u32, ${threads}>;`,
    body: `  let row = group * P.n;
  var lastValue = load_x(row);
  var lastIndex = 0xffffffffu;
  for (var rank = 0u; rank < P.k; rank++) {
    var value = lastValue;
    var index = 0xffffffffu;
    for (var j = thread; j < P.n; j += ${threads}u) {
      let x = load_x(row + j);
      let isNext = rank == 0u || before(lastValue, lastIndex, x, j);
      if (isNext && (index == 0xffffffffu || before(x, j, value, index))) { value = x; index = j; }
    }
    bestValue[thread] = value;
    bestIndex[thread] = index;
    for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half) {
        let other = bestIndex[thread + half];
        let isBetter = other != 0xffffffffu && (bestIndex[thread] == 0xffffffffu ||
          before(bestValue[thread + half], other, bestValue[thread], bestIndex[thread]));
        if (isBetter) { bestValue[thread] = bestValue[thread + half]; bestIndex[thread] = other; }
      }
    }
    workgroupBarrier();
    lastValue = bestValue[0];
    lastIndex = bestIndex[0];
    workgroupBarrier();
    if (thread == 0u) { store_values(group * P.k + rank, lastValue); store_indices(group * P.k + rank, i32(lastIndex)); }
  }`,
  });
  return { steps: [select] };
}

/** Lines of one axis: element j of line l is at (l / inner * extent + j) * inner + l % inner. */
export interface Lines {
  readonly outer: number;
  readonly extent: number;
  readonly inner: number;
}

/** Position of the first maximum (or minimum) of each line; NaN counts as the most extreme. Buffers: x, indices i32. */
export function argExtremeWgsl(
  x: TensorType,
  { outer, extent, inner }: Lines,
  kind: "max" | "min",
): WgslKernel {
  const dtype = x.dtype === "bool" ? "u8" : x.dtype;
  const type = valueType(dtype);
  const size = extent <= 32 ? 1 : threads;
  const lines = outer * inner;
  const isAlone = size === 1;
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype, access: "read" },
      { name: "y", memory: bufferAt(1), dtype: "i32", access: "write" },
    ],
    params: { lines, extent, inner },
    threads: isAlone ? 64 : threads,
    groups: isAlone ? Math.ceil(lines / 64) : lines,
    declarations: `${orderCode(type, kind === "max")}
${isAlone ? "" : keepBestCode(type, threads)}`,
    body: `  let line = ${isAlone ? "group * 64u + thread" : "group"};
  ${isAlone ? "if (line >= P.lines) { return; }" : ""}
  let base = (line / P.inner) * P.extent * P.inner + line % P.inner;
  let first = ${isAlone ? "0u" : "thread"};
  var index = min(first, P.extent - 1u);
  var value = load_x(base + index * P.inner);
  for (var j = first + ${size}u; j < P.extent; j += ${size}u) {
    let x = load_x(base + j * P.inner);
    if (before(x, j, value, index)) { value = x; index = j; }
  }
${
  isAlone
    ? "  store_y(line, i32(index));"
    : "  keepBest(thread, value, index);\n  if (thread == 0u) { store_y(line, i32(bestIndex[0])); }"
}`,
  });
  return { steps: [step] };
}
