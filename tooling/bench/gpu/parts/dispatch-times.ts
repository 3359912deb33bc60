// Says which dispatches of a run take the card's time: they are recorded while it runs, then each kind is timed by itself.
import type { WebGpuDevice } from "@heddle/gpu";
import { median } from "./median.ts";

interface Pass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y?: number, z?: number): void;
  end(): void;
}

interface Native {
  createCommandEncoder(): { beginComputePass(): Pass; finish(): object };
  queue: { submit(commands: object[]): void; onSubmittedWorkDone(): Promise<unknown> };
}

interface Dispatch {
  readonly pipeline: object;
  /** What it was bound to, each once: they take turns, since one program may serve several shapes, and what is read should not stay in the cache. */
  readonly groups: Set<object>;
  readonly grid: readonly [number, number, number];
  count: number;
}

/**
 * Times each kind of dispatch of `run` (equal program and grid) over all buffers that it had, which must still be there.
 *
 * @returns a line for each op: its share of the sum, microseconds in all, dispatches
 */
export async function dispatchTimes(device: WebGpuDevice, run: () => Promise<unknown>): Promise<string[]> {
  const native = device.native as unknown as Native;
  const kinds = await record(native, run);
  const times = new Map<string, { us: number; count: number }>();
  for (const kind of kinds) {
    const us = await timeOf(native, kind);
    const { label = "" } = kind.pipeline as { label?: string };
    const name = `${label} ${kind.grid.join("x")}`;
    const known = times.get(name) ?? { us: 0, count: 0 };
    times.set(name, { us: known.us + us * kind.count, count: known.count + kind.count });
  }
  const total = [...times.values()].reduce((sum, { us }) => sum + us, 0);
  return [
    `sum of all dispatches ${total.toFixed(0)} us`,
    ...[...times]
      .sort(([, x], [, y]) => y.us - x.us)
      .map(
        ([name, { us, count }]) =>
          `${((us / total) * 100).toFixed(1)} % ${us.toFixed(0)} us ${count} x ${name}`,
      ),
  ];
}

async function record(native: Native, run: () => Promise<unknown>): Promise<Dispatch[]> {
  const pass = native.createCommandEncoder().beginComputePass();
  const prototype = Object.getPrototypeOf(pass) as Pass;
  pass.end();
  const plain = { ...methodsOf(prototype) };
  const kinds = new Map<string, Dispatch>();
  const ids = new Map<object, number>();
  let [pipeline, group]: [object | undefined, object | undefined] = [undefined, undefined];
  prototype.setPipeline = function (of) {
    pipeline = of;
    return plain.setPipeline.call(this, of);
  };
  prototype.setBindGroup = function (index, of) {
    group = of;
    return plain.setBindGroup.call(this, index, of);
  };
  prototype.dispatchWorkgroups = function (x, y = 1, z = 1) {
    if (pipeline && group) {
      const id = ids.get(pipeline) ?? ids.size;
      ids.set(pipeline, id);
      const key = `${id} ${x} ${y} ${z}`;
      const known = kinds.get(key);
      if (known) {
        known.count++;
        known.groups.add(group);
      } else kinds.set(key, { pipeline, groups: new Set([group]), grid: [x, y, z], count: 1 });
    }
    return plain.dispatchWorkgroups.call(this, x, y, z);
  };
  try {
    await run();
  } finally {
    Object.assign(prototype, plain);
  }
  return [...kinds.values()];
}

function methodsOf({ setPipeline, setBindGroup, dispatchWorkgroups }: Pass) {
  return { setPipeline, setBindGroup, dispatchWorkgroups };
}

/** Mean microseconds of a dispatch over all groups; median of several rounds. */
async function timeOf(native: Native, { pipeline, groups, grid }: Dispatch): Promise<number> {
  const turns = Math.ceil(20 / groups.size);
  const run = async (times: number) => {
    const encoder = native.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    for (let i = 0; i < times; i++) {
      for (const group of groups) {
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
      }
    }
    pass.end();
    const start = performance.now();
    native.queue.submit([encoder.finish()]);
    await native.queue.onSubmittedWorkDone();
    return (performance.now() - start) * 1000;
  };
  await run(2);
  // The difference of two runs leaves the wait out.
  const differences: number[] = [];
  for (let round = 0; round < 5; round++) {
    const longer = await run(2 + turns);
    differences.push((longer - (await run(2))) / (turns * groups.size));
  }
  return Math.max(0, median(differences));
}
