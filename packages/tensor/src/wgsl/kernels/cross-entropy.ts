import type { TensorType } from "../../shape.js";
import { sizeOf } from "../../shape.js";
import type { WgslKernel } from "../kernel.js";
import { type BufferUse, bufferAt, wgslStep } from "../step.js";
import { groupJoin } from "./group-join.js";

export interface CrossEntropyCall {
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
}

const threads = 256;

/** Loss and logsumexp of each row, one workgroup a row. Buffers: logits [N, V], targets i32 [N], loss [N], lse [N]. */
export function crossEntropyWgsl(
  logits: TensorType,
  { ignoreIndex, labelSmoothing }: CrossEntropyCall,
): WgslKernel {
  const [rows = 1, V = 1] = logits.shape;
  const { dtype } = logits;
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype, access: "read" },
      { name: "targets", memory: bufferAt(1), dtype: "i32", access: "read" },
      { name: "loss", memory: bufferAt(2), dtype, access: "write" },
      { name: "lse", memory: bufferAt(3), dtype, access: "write" },
    ],
    params: { V, ignore: ignoreIndex, smoothing: { f32: labelSmoothing } },
    threads,
    groups: rows,
    declarations: `${groupJoin("max", "h_max(a, b)")}\n${groupJoin("sum", "a + b")}`,
    body: `  let base = group * P.V;
  var top = load_x(base);
  for (var j = thread; j < P.V; j += ${threads}u) { top = h_max(top, load_x(base + j)); }
  let highest = joined_max(thread, top);
  var total = 0.0;
  var sum = 0.0;
  for (var j = thread; j < P.V; j += ${threads}u) {
    let x = load_x(base + j);
    total += exp(x - highest);
    sum += x;
  }
  total = joined_sum(thread, total);
  sum = joined_sum(thread, sum);
  if (thread == 0u) {
    let lse = highest + log(total);
    let label = load_targets(group);
    store_lse(group, lse);
    if (label == bitcast<i32>(P.ignore)) { store_loss(group, 0.0); return; }
    var picked = h_nan();
    if (u32(label) < P.V) { picked = load_x(base + u32(label)); }
    store_loss(group, lse - (1.0 - P.smoothing) * picked - P.smoothing * sum / f32(P.V));
  }`,
  });
  return { steps: [step] };
}

/** Gradient by the logits. Buffers: logits [N, V], targets [N], lse [N], g [N], result [N, V]. */
export function crossEntropyGradWgsl(
  logits: TensorType,
  { ignoreIndex, labelSmoothing }: CrossEntropyCall,
): WgslKernel {
  const { dtype } = logits;
  const size = sizeOf(logits.shape);
  const use = (name: string, index: number): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype,
    access: "read",
  });
  const step = wgslStep({
    buffers: [
      use("x", 0),
      { ...use("targets", 1), dtype: "i32" },
      use("lse", 2),
      use("g", 3),
      { ...use("y", 4), access: "write" },
    ],
    params: { size, V: logits.shape[1] ?? 1, ignore: ignoreIndex, smoothing: { f32: labelSmoothing } },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  let row = i / P.V;
  let label = load_targets(row);
  if (label == bitcast<i32>(P.ignore)) { store_y(i, 0.0); return; }
  let wanted = P.smoothing / f32(P.V) + select(0.0, 1.0 - P.smoothing, u32(label) == i % P.V);
  store_y(i, (exp(load_x(i) - load_lse(row)) - wanted) * load_g(row));`,
  });
  return { steps: [step] };
}
