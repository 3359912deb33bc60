import type { OpCall } from "../device.js";
import { sizeOf } from "../shape.js";
import { withHardwareHalves } from "./functions.js";
import type { WgslFeatures, WgslKernel } from "./kernel.js";
import { copyWgsl } from "./kernels/copy.js";
import { elementwiseWgsl } from "./kernels/elementwise.js";
import { reduceWgsl } from "./kernels/reduce.js";
import { bufferAt } from "./step.js";

/**
 * Finds the WGSL of an op call: the op's own, or one generated from what the op says of itself (an expression, copies, a
 * reduction). Undefined where there is none for these types.
 */
export function lowerWgsl(call: OpCall, features: WgslFeatures): WgslKernel | undefined {
  const kernel = kernelOf(call, features);
  if (kernel === undefined || !features.f16) return kernel;
  return { ...kernel, steps: kernel.steps.map((step) => ({ ...step, code: withHardwareHalves(step.code) })) };
}

function kernelOf(call: OpCall, features: WgslFeatures): WgslKernel | undefined {
  const { op, params, inputs, outputs } = call;
  if ([...inputs, ...outputs].some(({ dtype }) => dtype === "f64")) return undefined;
  const own = op.kernels?.wgsl?.(call, features);
  if (own !== undefined) return own;
  const output = outputs[0];
  if (output === undefined) return undefined;
  const expression = op.expression?.(inputs, params);
  if (expression) return elementwiseWgsl(expression, call, features);
  const copies = op.copies?.(inputs, output, params);
  if (copies) {
    const { dtype, shape } = output;
    return copyWgsl(copies, { dtype, memory: bufferAt(inputs.length), elements: sizeOf(shape) });
  }
  const reduction = op.reduction?.(inputs, params);
  return reduction && reduceWgsl(reduction, inputs, output);
}
