import type { TensorType } from "../../shape.js";
import { valueType } from "../dtype.js";
import type { WgslKernel } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import type { Lines } from "./top-k.js";

const threads = 256;

/** Running sums of each line by one workgroup, 256 elements at a time. Buffers: x, y. */
export function cumsumWgsl(
  x: TensorType,
  { outer, extent, inner, reverse }: Lines & { reverse: boolean },
): WgslKernel {
  const type = valueType(x.dtype);
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: x.dtype, access: "read" },
      { name: "y", memory: bufferAt(1), dtype: x.dtype, access: "write" },
    ],
    params: { extent, inner },
    threads,
    groups: outer * inner,
    declarations: `var<workgroup> sums: array<${type}, ${threads}>;`,
    body: `  let base = (group / P.inner) * P.extent * P.inner + group % P.inner;
  var carry = ${type}(0);
  for (var start = 0u; start < P.extent; start += ${threads}u) {
    let j = start + thread;
    let at = base + ${reverse ? "(P.extent - 1u - min(j, P.extent - 1u))" : "min(j, P.extent - 1u)"} * P.inner;
    sums[thread] = select(${type}(0), load_x(at), j < P.extent);
    for (var step = 1u; step < ${threads}u; step *= 2u) {
      workgroupBarrier();
      let before = select(${type}(0), sums[max(thread, step) - step], thread >= step);
      workgroupBarrier();
      sums[thread] += before;
    }
    workgroupBarrier();
    let total = carry + sums[thread];
    carry += sums[${threads - 1}];
    workgroupBarrier();
    if (j < P.extent) { store_y(at, total); }
  }`,
  });
  return { steps: [step] };
}
