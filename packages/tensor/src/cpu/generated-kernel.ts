import type { OpCall } from "../device.js";
import { sizeOf } from "../shape.js";
import type { CpuFeatures, LoweredKernel } from "./kernel.js";
import { copyKernel } from "./kernels/copy.js";
import { elementwiseKernel } from "./kernels/elementwise.js";
import type { LaneDType } from "./kernels/lanes.js";
import { reduceKernel } from "./kernels/reduce.js";

const isLane = (dtype: string): dtype is LaneDType => dtype !== "f64";

/**
 * Finds the WebAssembly kernel of an op call: its own, or one generated from what the op says of itself (an expression,
 * copies, a reduction). Undefined where there is none for these types.
 */
export function generatedKernel(call: OpCall, features: CpuFeatures): LoweredKernel | undefined {
  const { op, params, inputs, outputs } = call;
  const output = outputs[0];
  const lanes = inputs.flatMap(({ dtype, shape }) => (isLane(dtype) ? [{ dtype, shape }] : []));
  const own = op.kernels?.wasm?.(call, features);
  if (own !== undefined) return own;
  if (lanes.length !== inputs.length || output === undefined || !isLane(output.dtype)) return undefined;
  const expression = op.expression?.(inputs, params);
  if (expression) return elementwiseKernel(expression, { inputs: lanes, shape: output.shape }, features);
  const copies = op.copies?.(inputs, output, params);
  if (copies) {
    const outputElements = sizeOf(output.shape);
    return copyKernel(copies, { dtype: output.dtype, inputs: inputs.length, outputElements }, features);
  }
  const reduction = op.reduction?.(inputs, params);
  return reduction && reduceKernel(reduction, lanes, features);
}
