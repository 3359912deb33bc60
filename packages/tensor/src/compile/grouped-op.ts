import type { OpSpec } from "../op.js";
import { groupWgsl } from "../wgsl/product/group-step.js";
import { tileGroupWgsl } from "../wgsl/product/tile-group.js";
import type { ProductGroup } from "./product-group.js";

/** The op of a group: only devices with a kernel for such groups can run it. */
export function groupedSpec(
  group: ProductGroup,
  {
    name,
    mutates,
    outputs,
  }: {
    readonly name: string;
    readonly mutates: readonly number[];
    readonly outputs: ReturnType<OpSpec["infer"]>;
  },
): OpSpec {
  return {
    name,
    infer: () => outputs,
    ...(mutates.length === 0 ? {} : { mutates }),
    kernels: {
      wgsl: ({ inputs: types, outputs: results }, features) => {
        const call = { group, inputs: types, outputs: results };
        return groupWgsl(call, features) ?? tileGroupWgsl(call, features);
      },
    },
  };
}
