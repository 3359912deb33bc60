import type { WebGpuDevice } from "../src/index.js";

/** Counts the dispatches of all passes of a device's runtime until it is stopped. */
export function countDispatches({ native }: WebGpuDevice): { stop(): number } {
  const pass = native.createCommandEncoder().beginComputePass();
  const prototype = Object.getPrototypeOf(pass) as { dispatchWorkgroups(...grid: number[]): void };
  pass.end();
  const { dispatchWorkgroups } = prototype;
  let count = 0;
  prototype.dispatchWorkgroups = function (...grid) {
    count++;
    return dispatchWorkgroups.apply(this, grid);
  };
  return {
    stop() {
      prototype.dispatchWorkgroups = dispatchWorkgroups;
      return count;
    },
  };
}
