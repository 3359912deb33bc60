import type { BufferRef, DeviceBuffer, Plan, Program } from "../device.js";
import { invariant } from "../error.js";
import { byteLengthOf, decode, encode, hostArray } from "../reference/host-array.js";
import type { TensorType } from "../shape.js";
import type { KernelArgument } from "./kernel.js";
import type { CpuKernel } from "./kernel-factory.js";
import type { LinearMemory } from "./memory.js";
import type { Pool, PoolArgument, PoolPlan, PoolStep } from "./pool.js";
import { StageHazards } from "./stage-hazards.js";

export type WasmKernel = CpuKernel & { readonly kind: "wasm" };
export type HostKernel = CpuKernel & { readonly kind: "host" };

/** Replaces the buffers and the scratch of a kernel's steps by addresses and slots. */
export function bindSteps(
  kernel: WasmKernel,
  buffers: readonly PoolArgument[],
  scratch: PoolArgument,
): PoolStep[] {
  const bind = (argument: KernelArgument): PoolArgument => {
    if (argument.kind === "i32") return { kind: "value", value: argument.value };
    if (argument.kind === "f32") return { kind: "value", value: floatBits(argument.value) };
    if (argument.kind === "scratch") return shifted(scratch, argument.byteOffset);
    const buffer = buffers[argument.index];
    invariant(
      buffer !== undefined,
      `kernel ${kernel.name} uses buffer ${argument.index} of ${buffers.length}`,
    );
    return buffer;
  };
  return kernel.steps.map(({ args, ...step }) => ({ ...step, args: args.map(bind) }));
}

function floatBits(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0] ?? 0;
}

function shifted(argument: PoolArgument, byteOffset: number): PoolArgument {
  if (argument.kind === "value") return { kind: "value", value: argument.value + byteOffset };
  return { ...argument, byteOffset: argument.byteOffset + byteOffset };
}

/** Runs an op's JavaScript loops over decoded copies of its buffers and writes back what changed. */
export function runHost(heap: LinearMemory, { call }: HostKernel, addresses: readonly number[]): void {
  const bytes = heap.bytes();
  const view = (i: number, byteLength: number) => {
    const address = addresses[i];
    invariant(address !== undefined, `a launch of ${call.op.name} lacks buffer ${i}`);
    return bytes.subarray(address, address + byteLength);
  };
  const read = (type: TensorType, i: number) => decode(view(i, byteLengthOf(type)), type);
  const inputs = call.inputs.map(read);
  const outputs = call.outputs.map((type) => hostArray(type));
  call.op.evaluate?.(inputs, outputs, call.params);
  const write = (i: number, array: (typeof outputs)[number] | undefined) => {
    if (array === undefined) return;
    const encoded = encode(array);
    view(i, encoded.length).set(encoded);
  };
  for (const [i, output] of outputs.entries()) write(inputs.length + i, output);
  for (const i of call.op.mutates ?? []) write(i, inputs[i]);
}

/** A stretch of a program: kernel calls that the pool runs in one go, or one JavaScript loop between them. */
type Segment =
  | { readonly kind: "pool"; readonly plan: PoolPlan }
  | { readonly kind: "host"; readonly kernel: HostKernel; readonly buffers: readonly BufferRef[] };

/** What a plan needs of its device. */
export interface PlanHost {
  readonly heap: LinearMemory;
  readonly pool: Pool;
  /** Address of the device's scratch, which has at least so many bytes. */
  scratch(byteLength: number): number;
  /** Address of a buffer handed in for a slot. */
  addressOf(buffer: DeviceBuffer | undefined): number;
}

/**
 * Turns a program into lists of kernel calls with every address known but those of its slots. One wake-up of the pool a run;
 * JavaScript loops run on the calling thread in between.
 */
export function planProgram(host: PlanHost, program: Program): Plan {
  const { heap, pool } = host;
  const arena = program.arenaBytes > 0 ? heap.alloc(program.arenaBytes) : undefined;
  const segments = segmentsOf(host, program, arena ?? 0);
  const scratchBytes = Math.max(0, ...program.launches.map(({ kernel }) => scratchOf(kernel as CpuKernel)));
  const addresses = new Array<number>(program.slots + 1).fill(0);
  let isDisposed = false;
  let single: (readonly Segment[])[] | undefined;
  const fill = (buffers: readonly DeviceBuffer[]) => {
    invariant(!isDisposed, "a disposed plan was run");
    invariant(
      buffers.length === program.slots,
      `a plan of ${program.slots} slots got ${buffers.length} buffers`,
    );
    for (let slot = 0; slot < buffers.length; slot++) addresses[slot] = host.addressOf(buffers[slot]);
    addresses[program.slots] = host.scratch(scratchBytes);
  };
  const runSegments = (some: readonly Segment[]) => {
    for (const segment of some) {
      if (segment.kind === "pool") pool.run(segment.plan, addresses);
      else runHost(heap, segment.kernel, resolve(segment.buffers, addresses, arena ?? 0));
    }
  };
  return {
    run(buffers) {
      fill(buffers);
      runSegments(segments);
    },
    profile(buffers) {
      fill(buffers);
      single ??= program.launches.map((launch) =>
        segmentsOf(host, { ...program, launches: [launch] }, arena ?? 0),
      );
      return single.map((launch) => {
        const start = performance.now();
        runSegments(launch);
        return performance.now() - start;
      });
    },
    dispose() {
      if (isDisposed) return;
      isDisposed = true;
      for (const segment of [...segments, ...(single ?? []).flat()])
        if (segment.kind === "pool") pool.drop(segment.plan);
      if (arena !== undefined) heap.free(arena);
    },
  };
}

function scratchOf(kernel: CpuKernel): number {
  return kernel.kind === "wasm" ? kernel.scratchBytes : 0;
}

function resolve(refs: readonly BufferRef[], addresses: readonly number[], arena: number): number[] {
  return refs.map((ref) => (ref.kind === "arena" ? arena + ref.byteOffset : (addresses[ref.index] ?? 0)));
}

function segmentsOf({ pool }: PlanHost, program: Program, arena: number): Segment[] {
  const slots = program.slots + 1;
  const scratch: PoolArgument = { kind: "slot", slot: program.slots, byteOffset: 0 };
  const segments: Segment[] = [];
  let hazards = new StageHazards();
  let pending: PoolStep[] = [];
  const flush = () => {
    if (pending.length > 0) segments.push({ kind: "pool", plan: pool.prepare(pending, slots) });
    pending = [];
    hazards = new StageHazards();
  };
  for (const launch of program.launches) {
    const { kernel, buffers } = launch;
    const cpuKernel = kernel as CpuKernel;
    if (cpuKernel.kind === "wasm") {
      const bound = buffers.map(
        (ref): PoolArgument =>
          ref.kind === "arena"
            ? { kind: "value", value: arena + ref.byteOffset }
            : { kind: "slot", slot: ref.index, byteOffset: 0 },
      );
      const steps = bindSteps(cpuKernel, bound, scratch);
      for (const [i, step] of cpuKernel.steps.entries()) {
        const poolStep = steps[i];
        if (poolStep !== undefined && step.units > 0)
          pending.push({ ...poolStep, isFree: hazards.add(step, launch) });
      }
    } else {
      flush();
      segments.push({ kind: "host", kernel: cpuKernel, buffers });
    }
  }
  flush();
  return segments;
}
