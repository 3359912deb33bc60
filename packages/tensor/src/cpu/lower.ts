import type { OpCall } from "../device.js";
import { generatedKernel } from "./generated-kernel.js";
import type { CpuFeatures } from "./kernel.js";
import type { CpuKernel } from "./kernel-factory.js";

/**
 * The kernel of an op call: WebAssembly where there is one, else nothing if the op is a composition of others, else its
 * JavaScript loops.
 */
export function lowerCall(call: OpCall, features: CpuFeatures): CpuKernel | undefined {
  const { op } = call;
  const lowered = generatedKernel(call, features);
  if (lowered !== undefined) {
    return {
      kind: "wasm",
      executedOn: "wasm",
      name: op.name,
      steps: lowered.steps,
      scratchBytes: lowered.scratchBytes ?? 0,
    };
  }
  if (op.reference !== undefined || op.evaluate === undefined) return undefined;
  return { kind: "host", executedOn: op.evaluatesOn ?? "javascript", name: op.name, call };
}
