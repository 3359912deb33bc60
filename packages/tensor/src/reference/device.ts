import type { Device, DeviceBuffer, Kernel, MemoryReport, OpCall, Plan, Program } from "../device.js";
import { invariant } from "../error.js";
import type { TensorType } from "../shape.js";
import { byteLengthOf, decode, encode, hostArray } from "./host-array.js";

interface ReferenceBuffer extends DeviceBuffer {
  readonly bytes: Uint8Array;
}

interface ReferenceKernel extends Kernel {
  readonly call: OpCall;
}

const viewOf = (buffer: DeviceBuffer, type: TensorType) =>
  (buffer as ReferenceBuffer).bytes.subarray(0, byteLengthOf(type));

/** Runs an op's plain loops over decoded copies of its buffers and writes back what changed. */
function run({ call }: ReferenceKernel, buffers: readonly DeviceBuffer[]): void {
  const inputs = call.inputs.map((type, i) => decode(viewOf(buffers[i] as DeviceBuffer, type), type));
  const outputs = call.outputs.map((type) => hostArray(type));
  call.op.evaluate?.(inputs, outputs, call.params);
  const write = (i: number, array: (typeof outputs)[number] | undefined) => {
    const buffer = buffers[i] as ReferenceBuffer | undefined;
    invariant(buffer && array, `launch of ${call.op.name} lacks buffer ${i}`);
    buffer.bytes.set(encode(array));
  };
  for (const [i, output] of outputs.entries()) write(inputs.length + i, output);
  for (const i of call.op.mutates ?? []) write(i, inputs[i]);
}

/**
 * The oracle: float64 loops in plain TypeScript, as short as they can be, never fast.
 *
 * Every other device is tested against it. Floats are f64 unless a dtype is named; smaller dtypes are computed in f64 and
 * rounded when stored.
 */
export function reference(): Device {
  const alive = new Set<DeviceBuffer>();
  let [bytes, peakBytes, allocations] = [0, 0, 0];
  let isDisposed = false;
  const device: Device = {
    kind: "reference",
    defaultFloat: "f64",
    limits: { maxBufferBytes: 2 ** 31 - 1, threads: 1 },
    supports: () => true,
    alloc(byteLength) {
      const buffer: ReferenceBuffer = { byteLength, bytes: new Uint8Array(byteLength) };
      alive.add(buffer);
      allocations++;
      bytes += byteLength;
      peakBytes = Math.max(peakBytes, bytes);
      return buffer;
    },
    free(buffer) {
      if (isDisposed) return;
      invariant(alive.delete(buffer), "a buffer was freed twice");
      bytes -= buffer.byteLength;
    },
    write(buffer, data, byteOffset = 0) {
      const source = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      (buffer as ReferenceBuffer).bytes.set(source, byteOffset);
    },
    read: async (buffer, byteOffset, byteLength) => readSync(buffer, byteOffset, byteLength),
    readSync,
    lower: (call) =>
      call.op.evaluate
        ? ({
            name: call.op.name,
            executedOn: call.op.evaluatesOn ?? "javascript",
            call,
          } satisfies ReferenceKernel)
        : undefined,
    launch: (kernel, buffers) => run(kernel as ReferenceKernel, buffers),
    plan: (program) => planOf(device, program),
    sync: async () => {},
    memory: (): MemoryReport => ({ buffers: alive.size, bytes, peakBytes, allocations }),
    dispose() {
      isDisposed = true;
      alive.clear();
      bytes = 0;
    },
  };
  return device;
}

function readSync(
  buffer: DeviceBuffer,
  byteOffset = 0,
  byteLength = buffer.byteLength - byteOffset,
): ArrayBuffer {
  return (buffer as ReferenceBuffer).bytes.slice(byteOffset, byteOffset + byteLength).buffer as ArrayBuffer;
}

/** Replays launches one by one, with views into one arena for what lives inside the plan. */
function planOf(device: Device, program: Program): Plan {
  const arena = device.alloc(program.arenaBytes) as ReferenceBuffer;
  return {
    run(slots) {
      for (const { kernel, buffers } of program.launches) {
        const resolved = buffers.map((ref): DeviceBuffer => {
          if (ref.kind === "slot") return slots[ref.index] as DeviceBuffer;
          const bytes = arena.bytes.subarray(ref.byteOffset, ref.byteOffset + ref.byteLength);
          return { byteLength: ref.byteLength, bytes } as ReferenceBuffer;
        });
        device.launch(kernel, resolved);
      }
    },
    dispose: () => device.free(arena),
  };
}
