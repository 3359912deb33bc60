import type { OpCall } from "../../op.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { groupWgsl } from "./group-step.js";

/** The kernel of an op that offers a product, alone; undefined where the piece does not do its types. */
export function productWgsl(call: OpCall, features: WgslFeatures): WgslKernel | undefined {
  const { op, params, inputs, outputs } = call;
  const [output] = outputs;
  if (output === undefined) return undefined;
  const member = { spec: op, params, types: inputs, output, inputs: inputs.map((_, i) => i) };
  const parts = [{ products: [member], targets: [{ kind: "output", index: 0, type: output } as const] }];
  return groupWgsl({ group: { parts }, inputs, outputs }, features);
}
