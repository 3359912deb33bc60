import type { WebGpuDevice } from "@heddle/gpu";

interface Native {
  queue: { submit(commands: object[]): unknown };
  createBuffer(descriptor: { size: number; usage: number }): Mapped;
}

interface Mapped {
  mapAsync(mode: number): Promise<unknown>;
  destroy(): void;
}

/** Milliseconds from the begin of a run to what happens on its way: each submission, each mapping asked for and there, the end. */
export async function runTimeline(device: WebGpuDevice, run: () => Promise<unknown>): Promise<string> {
  const native = device.native as unknown as Native;
  const sample = native.createBuffer({ size: 16, usage: 9 });
  const bufferKind = Object.getPrototypeOf(sample) as Mapped;
  sample.destroy();
  const queueKind = Object.getPrototypeOf(native.queue) as Native["queue"];
  const { submit } = queueKind;
  const { mapAsync } = bufferKind;
  const events: string[] = [];
  const start = performance.now();
  const note = (event: string) => events.push(`${event} ${(performance.now() - start).toFixed(2)}`);
  queueKind.submit = function (commands) {
    note("submit");
    const result = submit.call(this, commands);
    note("-");
    return result;
  };
  bufferKind.mapAsync = async function (mode) {
    note("map");
    await mapAsync.call(this, mode);
    note("mapped");
  };
  try {
    await run();
    note("end");
  } finally {
    Object.assign(queueKind, { submit });
    Object.assign(bufferKind, { mapAsync });
  }
  return events.join(", ");
}
