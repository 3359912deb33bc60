import type { LaneDType } from "./lanes.js";

/** An array seen around one axis: `outer` x `extent` x `inner`, contiguous. */
export interface AxisShape {
  readonly outer: number;
  readonly extent: number;
  readonly inner: number;
  readonly dtype: LaneDType;
}
