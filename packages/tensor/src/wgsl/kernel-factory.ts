import type { OpCall } from "../device.js";
import type { WgslFeatures, WgslKernel } from "./kernel.js";

/** Writes the WGSL of one op call; undefined where it has none for these types (the reference composition then runs). */
export type WgslKernelFactory<Params = unknown> = {
  // A method, so that factories of any params fit where the params are unknown.
  make(call: OpCall<Params>, features: WgslFeatures): WgslKernel | undefined;
}["make"];
