import type { WebGpuDevice } from "@heddle/gpu";

/** A dispatch with the pipeline and the bind group that were set. */
export interface RecordedCall {
  readonly pipeline: object;
  readonly group: object;
  readonly grid: readonly [number, number, number];
}

interface Pass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y?: number, z?: number): void;
}

/** Keeps the dispatches of all passes of a device, in order, until it is stopped. */
export function recordCalls({ native }: WebGpuDevice): { stop(): readonly RecordedCall[] } {
  const pass = native.createCommandEncoder().beginComputePass();
  const prototype = Object.getPrototypeOf(pass) as Pass;
  pass.end();
  const { setPipeline, setBindGroup, dispatchWorkgroups } = prototype;
  const calls: RecordedCall[] = [];
  let [pipeline, group]: [object | undefined, object | undefined] = [undefined, undefined];
  prototype.setPipeline = function (of) {
    pipeline = of;
    return setPipeline.call(this, of);
  };
  prototype.setBindGroup = function (index, of) {
    group = of;
    return setBindGroup.call(this, index, of);
  };
  prototype.dispatchWorkgroups = function (x, y = 1, z = 1) {
    if (pipeline && group) calls.push({ pipeline, group, grid: [x, y, z] });
    return dispatchWorkgroups.call(this, x, y, z);
  };
  return {
    stop() {
      Object.assign(prototype, { setPipeline, setBindGroup, dispatchWorkgroups });
      return calls;
    },
  };
}
