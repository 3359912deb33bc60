import type { WebGpuDevice } from "@heddle/gpu";
import type { OpCall } from "@heddle/tensor";

/**
 * Lets plans that are made inside `run` keep half-precision products of many rows apart from what stands around them, as they were
 * before they could be joined on matrix units.
 */
export async function withTilesApart<T>(device: WebGpuDevice, run: () => Promise<T>): Promise<T> {
  const lower = device.lower.bind(device);
  device.lower = (call) => (isTileGroup(call) ? undefined : lower(call));
  try {
    return await run();
  } finally {
    device.lower = lower;
  }
}

/** Groups are ops without pieces of their own. */
function isTileGroup({ op, inputs: [x] }: OpCall): boolean {
  if (x === undefined || op.kernels?.pieces !== undefined || !op.name.startsWith("matmul")) return false;
  const rows = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  return x.dtype === "f16" && rows > 8;
}
