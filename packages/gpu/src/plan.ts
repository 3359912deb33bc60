import { type BufferRef, type DeviceBuffer, invariant, type Plan, type Program } from "@heddle/tensor";
import { type Binder, memoryOf } from "./binder.js";
import type { GpuBuffer } from "./gpu-buffer.js";
import type { BoundDispatch, Joiner } from "./joiner.js";
import type { GpuKernel } from "./kernel.js";
import type { PreparedStep } from "./pipelines.js";
import type { Recorder } from "./recorder.js";

/** What a plan needs of its device. */
export interface PlanHost {
  readonly recorder: Recorder;
  readonly binder: Binder;
  alloc(byteLength: number): GpuBuffer;
  free(buffer: GpuBuffer): void;
  /** Throws where the device cannot run anything. */
  check(): void;
  /** Joins bound steps into fewer dispatches; undefined where the device does not. */
  readonly joiner: Joiner | undefined;
}

/** Bind groups that a step keeps for the buffers it was lately run with. */
const maxGroupsPerStep = 16;

/** Dispatches of bound runs that are submitted together: a submission costs as much as some of them. */
const maxUnsubmitted = 256;
/** The same for a run that is submitted at its end anyway; fewer at first, so that the card soon has something to do. */
const maxUnsubmittedOfRun = 64;
const maxUnsubmittedAtFirst = 16;

/** A step whose bindings are the plan's own memory or slots. */
interface PlanStep {
  readonly step: PreparedStep;
  readonly pipeline: object;
  readonly bound: readonly (GpuBuffer | number)[];
  /** Bytes that the value in each takes of memory that the plan lends to several; undefined for slots and scratch. */
  readonly bytes: readonly (number | undefined)[];
  /** The slots among them. */
  readonly slots: readonly number[];
  /** Reads and writes may meet in one buffer: groups are made at each run. */
  readonly mayClash: boolean;
  readonly groups: Map<string, object>;
}

/**
 * Turns a program into dispatches with every pipeline chosen and, where no slot is involved, every bind group made. Values of
 * the plan lie in buffers of their own (WebGPU cannot read and write one buffer in a dispatch), which are reused by liveness.
 */
export function planProgram(host: PlanHost, program: Program): Plan {
  const { binder, recorder } = host;
  const arena = layOut(program);
  const buffers = arena.sizes.map((bytes) => host.alloc(bytes));
  const steps = program.launches.flatMap(({ kernel, buffers: refs }, at) => {
    const { prepared } = kernel as GpuKernel;
    const resolve = (ref: BufferRef) =>
      ref.kind === "slot" ? ref.index : (buffers[arena.bufferOf.get(ref.memory) ?? -1] as GpuBuffer);
    const memory = refs.map(resolve);
    const scratch = (arena.scratchOf[at] ?? []).map((index) => buffers[index] as GpuBuffer);
    const bytes = refs.map((ref) => (ref.kind === "slot" ? undefined : ref.byteLength));
    return prepared.map((step) => planStep(binder, step, { memory, bytes, scratch }));
  });
  // Joined steps of all bound runs count in one place: the queue runs in order.
  let sync: GpuBuffer | undefined;
  let isDisposed = false;
  return {
    arenaBytes: arena.sizes.reduce((sum, bytes) => sum + bytes, 0),
    run(slots: readonly DeviceBuffer[]) {
      invariant(!isDisposed, "a disposed plan was run");
      invariant(
        slots.length === program.slots,
        `a plan of ${program.slots} slots got ${slots.length} buffers`,
      );
      host.check();
      const given = slots as readonly GpuBuffer[];
      for (const buffer of given) {
        invariant(buffer.isAlive, "a buffer was used after it was freed");
        buffer.touched.batch = recorder.batch;
      }
      const { batch: firstBatch } = recorder;
      for (const step of steps) {
        runStep(host, step, given);
        // The card begins while the rest is recorded.
        recorder.flushIfFull(recorder.batch === firstBatch ? maxUnsubmittedAtFirst : maxUnsubmittedOfRun);
      }
      recorder.flush();
    },
    bind(slots: readonly DeviceBuffer[]) {
      const given = slots as readonly GpuBuffer[];
      const bound = steps.map((step) => bindStep(step, given));
      sync ??= host.joiner?.allocSync();
      const joined = sync === undefined ? bound : (host.joiner?.join(bound, sync) ?? bound);
      const runs = joined.map((step) => dispatchOf(host, step));
      const marks = [...new Set([...given, ...buffers].map(({ touched }) => touched))];
      let marked = 0;
      return () => {
        invariant(!isDisposed, "a disposed plan was run");
        host.check();
        // What is written from the host meanwhile has to wait for what is recorded here. Marking once for a batch saves going through memory.
        const { batch } = recorder;
        if (batch !== marked) for (const mark of marks) mark.batch = batch;
        marked = batch;
        for (const run of runs) {
          if (typeof run === "function") run();
          else recorder.dispatch(run.pipeline, run.group, run.grid);
        }
        recorder.flushIfFull(maxUnsubmitted);
      };
    },
    dispose() {
      if (isDisposed) return;
      isDisposed = true;
      recorder.flush();
      for (const buffer of buffers) host.free(buffer);
      if (sync !== undefined) host.free(sync);
    },
  };
}

function planStep(
  binder: Binder,
  step: PreparedStep,
  {
    memory,
    bytes,
    scratch,
  }: {
    memory: readonly (GpuBuffer | number)[];
    bytes: readonly (number | undefined)[];
    scratch: readonly GpuBuffer[];
  },
): PlanStep {
  const bound = step.bindings.map((binding): GpuBuffer | number => {
    if (binding.memory.kind === "scratch") return memoryOf(binding, { buffers: [], scratch });
    const found = memory[binding.memory.index];
    invariant(found !== undefined, `a kernel uses buffer ${binding.memory.index} of ${memory.length}`);
    return found;
  });
  const slots = [...new Set(bound.filter((entry): entry is number => typeof entry === "number"))];
  const written = new Set(bound.filter((_, i) => step.bindings[i]?.access === "read_write"));
  const mayClash = bound.some((entry, i) => step.bindings[i]?.access === "read" && written.has(entry));
  const groups = new Map<string, object>();
  if (slots.length === 0 && !mayClash)
    groups.set("", binder.createGroup(step, bound as readonly GpuBuffer[]));
  const valueBytes = step.bindings.map((binding) =>
    binding.memory.kind === "scratch" ? undefined : bytes[binding.memory.index],
  );
  return { step, pipeline: step.pipeline, bound, bytes: valueBytes, slots, mayClash, groups };
}

function runStep({ binder, recorder }: PlanHost, plan: PlanStep, given: readonly GpuBuffer[]): void {
  const { step, pipeline, bound, slots, groups } = plan;
  const resolve = () =>
    bound.map((entry) => (typeof entry === "number" ? (given[entry] as GpuBuffer) : entry));
  if (plan.mayClash || slots.some((slot) => given[slot]?.pooled === undefined)) {
    binder.dispatchBound(step, resolve());
    return;
  }
  let key = "";
  for (const slot of slots) key += `${(given[slot] as GpuBuffer).id},`;
  let group = groups.get(key);
  if (group === undefined) {
    if (groups.size >= maxGroupsPerStep) groups.clear();
    group = binder.createGroup(step, resolve());
    groups.set(key, group);
  }
  recorder.dispatch(pipeline, group, step.grid);
}

/** A dispatch with everything in place, or what makes it where a buffer is read and written. */
type BoundStep =
  | {
      readonly pipeline: object;
      readonly group: object;
      readonly grid: readonly [number, number, number];
    }
  | (() => void);

function bindStep(
  { step, bound, bytes, slots, mayClash }: PlanStep,
  given: readonly GpuBuffer[],
): BoundDispatch {
  const buffers = bound.map((entry) => (typeof entry === "number" ? (given[entry] as GpuBuffer) : entry));
  const sizes = buffers.map(({ byteLength }, i) => bytes[i] ?? byteLength);
  // A caller's buffers may overlap.
  const mayOverlap = slots.some((slot) => given[slot]?.pooled === undefined);
  return { step, buffers, sizes, mayClash: mayClash || mayOverlap };
}

function dispatchOf({ binder }: PlanHost, { step, buffers, mayClash }: BoundDispatch): BoundStep {
  if (mayClash) return () => binder.dispatchBound(step, buffers);
  return { pipeline: step.pipeline, group: binder.createGroup(step, buffers), grid: step.grid };
}

interface Layout {
  /** Bytes of each buffer. */
  readonly sizes: readonly number[];
  /** Buffer of each memory of the program. */
  readonly bufferOf: ReadonlyMap<number, number>;
  /** Buffers of each launch's scratch. */
  readonly scratchOf: readonly (readonly number[])[];
}

/**
 * Gives each value a buffer that no other living value has: the smallest free one that holds it, else the largest, enlarged.
 * Larger values that come later may enlarge it again, since nothing is allocated yet.
 */
export function layOut({ launches }: Program): Layout {
  const lives = new Map<number, { bytes: number; first: number; last: number }>();
  launches.forEach(({ buffers }, at) => {
    for (const ref of buffers) {
      if (ref.kind === "slot") continue;
      const life = lives.get(ref.memory);
      const bytes = Math.max(life?.bytes ?? 0, ref.byteLength);
      lives.set(ref.memory, { bytes, first: life?.first ?? at, last: at });
    }
  });
  const sizes: number[] = [];
  const free: number[] = [];
  const place = (bytes: number): number => {
    const byFit = [...free].sort((a, b) => (sizes[a] ?? 0) - (sizes[b] ?? 0));
    const chosen = byFit.find((index) => (sizes[index] ?? 0) >= bytes) ?? byFit.at(-1);
    if (chosen === undefined) return sizes.push(bytes) - 1;
    free.splice(free.indexOf(chosen), 1);
    sizes[chosen] = Math.max(sizes[chosen] ?? 0, bytes);
    return chosen;
  };
  const bufferOf = new Map<number, number>();
  const scratchOf = launches.map(({ kernel }, at) => {
    for (const [memory, life] of lives) if (life.first === at) bufferOf.set(memory, place(life.bytes));
    const scratch = (kernel as GpuKernel).scratch.map(place);
    free.push(...scratch);
    for (const [memory, life] of lives) if (life.last === at) free.push(bufferOf.get(memory) ?? -1);
    return scratch;
  });
  return { sizes, bufferOf, scratchOf };
}
