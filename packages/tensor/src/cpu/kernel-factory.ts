import type { Kernel, OpCall } from "../device.js";
import type { CpuFeatures, KernelStep, LoweredKernel } from "./kernel.js";

/** A lowered op on the CPU device: parallel WebAssembly loops, or a JavaScript loop where no kernel exists yet. */
export type CpuKernel =
  | (Kernel & { readonly kind: "wasm"; readonly steps: readonly KernelStep[]; readonly scratchBytes: number })
  | (Kernel & { readonly kind: "host"; readonly call: OpCall });

/** Makes the kernel of one op call; undefined where it has none for these types (the reference composition then runs). */
export type WasmKernelFactory<Params = unknown> = {
  // A method, so that factories of any params fit where the params are unknown.
  make(call: OpCall<Params>, features: CpuFeatures): LoweredKernel | undefined;
}["make"];
