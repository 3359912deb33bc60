import type { OpCall } from "../device.js";
import { generatedKernel } from "./generated-kernel.js";
import type { CpuFeatures, CpuKernel } from "./kernel.js";

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
  return { kind: "host", executedOn: "javascript", name: op.name, call };
}

/** Equal keys mean equal kernels of one op; undefined where the params are not plain data. */
export function callKey({ inputs, outputs, params }: OpCall): string | undefined {
  const types = [...inputs, ...outputs].map(({ dtype, shape }) => `${dtype}[${shape}]`).join(" ");
  const text = plainText(params);
  return text === undefined ? undefined : `${inputs.length} ${types} ${text}`;
}

function plainText(value: unknown): string | undefined {
  if (Object.is(value, -0)) return "-0";
  if (value === null || typeof value === "number" || typeof value === "boolean" || value === undefined) {
    return String(value);
  }
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return undefined;
  const isPlain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) return undefined;
  const parts: string[] = [];
  for (const [key, child] of Object.entries(value)) {
    const text = plainText(child);
    if (text === undefined) return undefined;
    parts.push(`${JSON.stringify(key)}:${text}`);
  }
  return Array.isArray(value) ? `[${parts.join(",")}]` : `{${parts.join(",")}}`;
}
