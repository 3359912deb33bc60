import type { DType } from "../../dtype.js";
import { encodeBits, lanesOf, valueType } from "../dtype.js";
import type { WgslMemory, WgslStep } from "../kernel.js";
import { wgslStep } from "../step.js";

/** Where a cast goes, and from which to which dtype; both have one type in WGSL arithmetic, so that only storage changes. */
export interface CastTarget {
  readonly memory: WgslMemory;
  readonly wide: DType;
  readonly dtype: DType;
  readonly size: number;
}

/** Copies elements into another storage dtype, a word a thread. */
export function castStep(from: WgslMemory, { memory, wide, dtype, size }: CastTarget): WgslStep {
  const lanes = lanesOf(dtype);
  const load = (lane: number) => `${valueType(dtype)}(load_x(min(i + ${lane}u, P.size - 1u)))`;
  const parts = Array.from(
    { length: lanes },
    (_, lane) => `(${encodeBits(dtype, load(lane))} << ${(lane * 32) / lanes}u)`,
  );
  return wgslStep({
    buffers: [
      { name: "x", memory: from, dtype: wide, access: "read" },
      { name: "y", memory, dtype, access: "words" },
    ],
    params: { size },
    groups: Math.ceil(size / (256 * lanes)),
    body: `  let i = (group * 256u + thread) * ${lanes}u;
  if (i >= P.size) { return; }
  y[i / ${lanes}u] = ${lanes === 1 ? load(0) : parts.join(" | ")};`,
  });
}
