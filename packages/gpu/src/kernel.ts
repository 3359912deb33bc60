import type { Kernel } from "@heddle/tensor";
import type { PreparedStep } from "./pipelines.js";

/** A lowered op on the WebGPU device. */
export interface GpuKernel extends Kernel {
  readonly prepared: readonly PreparedStep[];
  /** Bytes of each scratch buffer. */
  readonly scratch: readonly number[];
}
