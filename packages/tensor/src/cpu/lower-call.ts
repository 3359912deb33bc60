import type { OpCall } from "../device.js";
import { generatedKernel } from "./generated-kernel.js";
import type { CpuFeatures, CpuKernel } from "./kernel.js";

/**
 * Finds what runs an op call: a WebAssembly kernel, its own or a generated one, else the op's loops in JavaScript.
 * @returns undefined where the op's reference composition is to run instead
 */
export function lowerCall(call: OpCall, features: CpuFeatures): CpuKernel | undefined {
  const { op } = call;
  const lowered = generatedKernel(call, features);
  if (lowered !== undefined) {
    return { kind: "wasm", name: op.name, steps: lowered.steps, scratchBytes: lowered.scratchBytes ?? 0 };
  }
  if (op.reference !== undefined || op.evaluate === undefined) return undefined;
  return { kind: "host", name: op.name, call };
}

/**
 * Text that tells op calls apart whose kernels differ: equal texts (of one op) mean equal kernels.
 * @returns undefined where the parameters hold something that has no text, such as a function
 */
export function callKey({ params, inputs, outputs }: OpCall): string | undefined {
  const types = [...inputs, ...outputs].map(({ shape, dtype }) => `${dtype}${shape.join("x")}`).join(",");
  const text = valueKey(params);
  return text === undefined ? undefined : `${inputs.length}|${types}|${text}`;
}

function valueKey(value: unknown): string | undefined {
  switch (typeof value) {
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "boolean":
    case "undefined":
      return String(value);
    case "string":
      return JSON.stringify(value);
    case "object":
      return value === null ? "null" : objectKey(value);
    default:
      return undefined;
  }
}

function objectKey(value: object): string | undefined {
  const isList = Array.isArray(value);
  if (!isList && Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  let text = isList ? "[" : "{";
  for (const [name, entry] of Object.entries(value)) {
    const part = valueKey(entry);
    if (part === undefined) return undefined;
    text += isList ? `${part},` : `${JSON.stringify(name)}:${part},`;
  }
  return text + (isList ? "]" : "}");
}
