import { HeddleError, invariant } from "../error.js";
import {
  CHUNK_BITS,
  CLOSED_CHUNK,
  CONTROL_BYTES,
  firstUnit,
  MAX_CHUNKS,
  MAX_FAILURE_BYTES,
  MAX_SLOTS,
  placeOf,
  SEQUENCE_MASK,
  type Stage,
  type StageStep,
  type WorkerMessage,
  controlWords as words,
} from "./control.js";
import { compileModule } from "./engine.js";
import type { KernelModule } from "./kernel.js";
import { dispatcherModule, MAX_ARGUMENT_BYTES } from "./kernel-table.js";
import type { LinearMemory } from "./memory.js";
import { startThread, type Thread } from "./thread.js";
import { workerSource } from "./worker-source.js";

/** An argument whose value is known (a whole number or the bits of an f32), or that lies `byteOffset` past a slot's address. */
export type PoolArgument =
  | { readonly kind: "value"; readonly value: number }
  | { readonly kind: "slot"; readonly slot: number; readonly byteOffset: number };

export interface PoolStep {
  readonly module: KernelModule;
  readonly args: readonly PoolArgument[];
  readonly units: number;
  readonly grain: number;
  /** Whether it may run beside every step since the last barrier. Default false. */
  readonly isFree?: boolean;
  /** Whether a thread should go on where it is (`KernelStep.isStream`). Default false. */
  readonly isStream?: boolean | undefined;
}

/** Steps made ready by `Pool.prepare`. */
export interface PoolPlan {
  readonly id: number;
  readonly stages: readonly Stage[];
  readonly slots: number;
  readonly isParallel: boolean;
}

export interface PoolOptions {
  /** Threads including the calling one. */
  readonly threads: number;
  /** How long an idle worker spins before it sleeps, in milliseconds; default 0.5. */
  readonly spinMs?: number;
  /** After how long without progress a worker counts as dead, in milliseconds; default 60 000. */
  readonly stallTimeoutMs?: number;
}

interface CompiledModule {
  readonly index: number;
  readonly module: WebAssembly.Module;
}

/** A stage is cut finer than the number of threads, so that one that is held up elsewhere does not hold up the rest. */
const CHUNKS_PER_THREAD = 8;
/** From so many chunks a thread on they grow smaller towards the end: with fewer the first would be too large. */
const TAPERED_CHUNKS_PER_THREAD = 4;
/** How long the calling thread spins for the others before it sleeps, in milliseconds. */
const CALLER_SPIN_MS = 0.2;

/**
 * Runs plans of kernel calls on the calling thread and its workers. Nobody waits for a worker that has not taken a chunk: one
 * that is asleep, still starting or held up by another process only leaves more chunks to the others.
 *
 * Workers start at the first plan that has use for them, or with `start`, and never keep a process alive.
 */
export class Pool {
  readonly #memory: LinearMemory;
  readonly #options: Required<PoolOptions>;
  readonly #compiled = new Map<string, CompiledModule>();
  readonly #byIndex: CompiledModule[] = [];
  readonly #posted = new Set<number>();
  readonly #control: number;
  readonly #ints: Int32Array;
  readonly #dispatcher = dispatcherModule();
  /** `runFrom` of the kernels, by index. */
  readonly #table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });
  readonly #invoke: (index: number, address: number, begin: number, end: number) => void;
  /** Room for the arguments of each thread, the calling one's first. */
  readonly #arguments: number;
  #words: Int32Array;
  readonly #canBlock: boolean;
  #threads: readonly Thread[] | undefined;
  #numPostedModules = 0;
  #nextPlan = 1;
  #sequence = 0;

  constructor(memory: LinearMemory, options: PoolOptions) {
    this.#memory = memory;
    this.#options = { spinMs: 0.5, stallTimeoutMs: 60_000, ...options };
    this.#control = memory.alloc(CONTROL_BYTES, { isCounted: false });
    this.#ints = new Int32Array(memory.memory.buffer, this.#control, CONTROL_BYTES / 4);
    this.#ints.fill(0);
    this.#ints[words.ticket] = CLOSED_CHUNK;
    this.#arguments = memory.alloc(MAX_ARGUMENT_BYTES * options.threads, { isCounted: false });
    this.#words = this.#argumentWords();
    this.#invoke = new WebAssembly.Instance(this.#dispatcher, { env: { table: this.#table } }).exports
      .run as never;
    this.#canBlock = memory.isShared && canBlock(this.#ints);
    if (options.threads === 1 || !memory.isShared) this.#threads = [];
  }

  /** Threads in use, the calling one included: as many as were asked for unless workers cannot start here. */
  get threads(): number {
    return this.#threads === undefined ? this.#options.threads : this.#threads.length + 1;
  }

  /** Chunks of work that workers have done so far; 0 while everything ran on the calling thread. */
  get workerChunks(): number {
    return this.#memory.isShared ? Atomics.load(this.#ints, words.workerChunks) : 0;
  }

  /** Begins to start the workers, which the first plan would else do. */
  start(): void {
    this.#workers();
  }

  /** Compiles the modules and cuts the steps into stages. */
  prepare(steps: readonly PoolStep[], slots: number): PoolPlan {
    const stages: { chunks: number; steps: StageStep[]; isStream: boolean }[] = [];
    for (const step of steps) {
      if (step.units === 0) continue;
      const chunks = slots > MAX_SLOTS ? 1 : this.#chunksOf(step);
      const last = stages.at(-1);
      const stageStep = this.#stageStep(step);
      if (chunks === 1 && last?.chunks === 1) last.steps.push(stageStep);
      else if (step.isFree && last !== undefined && last.chunks > 1) {
        last.steps.push(stageStep);
        last.chunks = Math.max(last.chunks, chunks);
        last.isStream ||= step.isStream ?? false;
      } else stages.push({ chunks, steps: [stageStep], isStream: step.isStream ?? false });
    }
    const least = TAPERED_CHUNKS_PER_THREAD * this.threads;
    return {
      id: this.#nextPlan++,
      stages: stages.map(({ chunks, steps, isStream }) => {
        const parts = isStream && chunks >= this.threads ? this.threads : 1;
        const whole = chunks - (chunks % parts);
        return { chunks: whole, isTapered: whole >= least, parts, steps };
      }),
      slots,
      isParallel: stages.some(({ chunks }) => chunks > 1),
    };
  }

  /**
   * Runs every step of the plan; returns when all are done.
   * @param addresses  byte address of each slot
   * @throws HeddleError "device" if a kernel traps or a worker dies in the middle of its work
   */
  run(plan: PoolPlan, addresses: readonly number[]): void {
    if (!plan.isParallel || this.#workers().length === 0) {
      this.#runAlone(plan, addresses);
      return;
    }
    const ints = this.#ints;
    if (!this.#posted.has(plan.id)) this.#postPlan(plan);
    for (let slot = 0; slot < plan.slots; slot++) ints[words.slots + slot] = addresses[slot] ?? 0;
    this.#sequence = (this.#sequence + 1) & SEQUENCE_MASK;
    ints[words.base] = this.#sequence;
    ints[words.plan] = plan.id;
    Atomics.store(ints, words.ticket, this.#sequence << CHUNK_BITS);
    if (Atomics.load(ints, words.sleepers) > 0)
      Atomics.notify(ints, words.ticket, plan.stages[0]?.chunks ?? 1);
    const trap = this.#work(plan);
    this.#sequence = (Atomics.load(ints, words.ticket) >>> CHUNK_BITS) & SEQUENCE_MASK;
    if (Atomics.load(ints, words.failed) !== 0) throw this.#failure(trap);
  }

  /** Forgets a plan, here and in the workers. */
  drop(plan: PoolPlan): void {
    if (this.#posted.delete(plan.id)) this.#post({ kind: "drop", id: plan.id });
  }

  /** Ends the workers. Plans then run on the calling thread alone. */
  dispose(): void {
    for (const thread of this.#threads ?? []) thread.end();
    this.#threads = [];
  }

  #chunksOf({ units, grain }: PoolStep): number {
    const most = Math.min(MAX_CHUNKS, this.threads * CHUNKS_PER_THREAD);
    return this.threads === 1 ? 1 : Math.max(1, Math.min(most, Math.floor(units / Math.max(1, grain))));
  }

  #stageStep(step: PoolStep): StageStep {
    const args = step.args.map((argument) => (argument.kind === "value" ? argument.value : 0));
    const patches = step.args.flatMap((argument, i) =>
      argument.kind === "slot" ? [i, argument.slot, argument.byteOffset] : [],
    );
    return { module: this.#compile(step.module).index, args, patches, units: step.units };
  }

  #compile(kernelModule: KernelModule): CompiledModule {
    const known = this.#compiled.get(kernelModule.key);
    if (known !== undefined) return known;
    const module = compileModule(kernelModule.emit());
    const { runFrom } = new WebAssembly.Instance(module, { env: { memory: this.#memory.memory } }).exports;
    invariant(typeof runFrom === "function", `the kernel module ${kernelModule.key} exports no runFrom`);
    const compiled: CompiledModule = { index: this.#byIndex.length, module };
    this.#table.set(this.#table.grow(1), runFrom as never);
    this.#byIndex.push(compiled);
    this.#compiled.set(kernelModule.key, compiled);
    return compiled;
  }

  #argumentWords(): Int32Array {
    return new Int32Array(this.#memory.memory.buffer, this.#arguments, MAX_ARGUMENT_BYTES / 4);
  }

  #runAlone(plan: PoolPlan, addresses: readonly number[]): void {
    try {
      for (const stage of plan.stages) {
        for (const step of stage.steps) {
          this.#bind(step, addresses, 0);
          this.#invoke(step.module, this.#arguments, 0, step.units);
        }
      }
    } catch (error) {
      throw trapError(String(error), error);
    }
  }

  /** Writes the arguments of a step to where the dispatcher reads them; slot 0's address is `slots[first]`. */
  #bind({ args, patches }: StageStep, slots: ArrayLike<number>, first: number): void {
    // Memory that is not shared takes its views away when it grows.
    if (this.#words.length === 0) this.#words = this.#argumentWords();
    const own = this.#words;
    for (let i = 0; i < args.length; i++) own[i] = args[i] ?? 0;
    for (let i = 0; i < patches.length; i += 3) {
      own[patches[i] ?? 0] = (slots[first + (patches[i + 1] ?? 0)] ?? 0) + (patches[i + 2] ?? 0);
    }
  }

  /** Takes part in the plan until its last stage is closed. Returns what a chunk of this thread threw. */
  #work(plan: PoolPlan): unknown {
    const ints = this.#ints;
    const base = this.#sequence;
    let trap: unknown;
    for (;;) {
      const ticket = Atomics.load(ints, words.ticket);
      const chunk = ticket & CLOSED_CHUNK;
      if (chunk === CLOSED_CHUNK) return trap;
      const stage = plan.stages[((ticket >>> CHUNK_BITS) - base) & SEQUENCE_MASK];
      invariant(stage !== undefined, "the ticket of the pool points past its plan");
      if (chunk >= stage.chunks) this.#waitForOthers(ticket);
      else if (Atomics.compareExchange(ints, words.ticket, ticket, ticket + 1) === ticket) {
        trap = this.#runChunk(stage, chunk) ?? trap;
        if (Atomics.add(ints, words.done, 1) + 1 === stage.chunks) this.#advance(ticket, plan, base);
      }
    }
  }

  #runChunk(stage: Stage, taken: number): unknown {
    const place = placeOf(stage, taken);
    try {
      for (const step of stage.steps) {
        const begin = firstUnit(step.units, stage, place);
        const end = firstUnit(step.units, stage, place + 1);
        if (begin === end) continue;
        this.#bind(step, this.#ints, words.slots);
        this.#invoke(step.module, this.#arguments, begin, end);
      }
    } catch (error) {
      Atomics.compareExchange(this.#ints, words.failed, 0, 1);
      return error ?? new Error("a kernel threw undefined");
    }
    return undefined;
  }

  /** Opens the next stage, or closes the plan after its last one or a failure. */
  #advance(ticket: number, plan: PoolPlan, base: number): void {
    const ints = this.#ints;
    const sequence = ((ticket >>> CHUNK_BITS) + 1) & SEQUENCE_MASK;
    const hasFailed = Atomics.load(ints, words.failed) !== 0;
    const next = hasFailed ? undefined : plan.stages[(sequence - base) & SEQUENCE_MASK];
    Atomics.store(ints, words.done, 0);
    Atomics.store(ints, words.ticket, (sequence << CHUNK_BITS) | (next === undefined ? CLOSED_CHUNK : 0));
    if (next !== undefined && next.chunks > 1 && Atomics.load(ints, words.sleepers) > 0) {
      Atomics.notify(ints, words.ticket, next.chunks - 1);
    }
  }

  /** Waits until the ticket changes: spins, then sleeps where this thread may. */
  #waitForOthers(ticket: number): void {
    const ints = this.#ints;
    const start = performance.now();
    for (;;) {
      for (let i = 0; i < 100; i++) if (Atomics.load(ints, words.ticket) !== ticket) return;
      const elapsedMs = performance.now() - start;
      if (elapsedMs > this.#options.stallTimeoutMs) this.#giveUp(elapsedMs);
      if (!this.#canBlock || elapsedMs < CALLER_SPIN_MS) continue;
      Atomics.store(ints, words.callerAsleep, 1);
      if (Atomics.load(ints, words.ticket) === ticket) {
        Atomics.wait(ints, words.callerAsleep, 1, this.#options.stallTimeoutMs - elapsedMs + 1);
      }
      Atomics.store(ints, words.callerAsleep, 0);
    }
  }

  #giveUp(elapsedMs: number): never {
    const ints = this.#ints;
    this.dispose();
    const sequence = ((Atomics.load(ints, words.ticket) >>> CHUNK_BITS) + 1) & SEQUENCE_MASK;
    Atomics.store(ints, words.done, 0);
    Atomics.store(ints, words.ticket, (sequence << CHUNK_BITS) | CLOSED_CHUNK);
    this.#sequence = sequence;
    throw new HeddleError(
      "device",
      `launch: every worker thread must finish what it took; got none done for ${Math.round(elapsedMs)} ms. ` +
        "A worker has died (out of memory?); the results of this launch are lost and later ones run on one thread.",
      { elapsedMs },
    );
  }

  /** The error of a plan in which a kernel trapped; clears the mark. */
  #failure(trap: unknown): HeddleError {
    const ints = this.#ints;
    const length = Math.min(MAX_FAILURE_BYTES, Atomics.load(ints, words.failureLength));
    const text = new Uint8Array(ints.buffer, this.#control + words.failureText * 4, length).slice();
    Atomics.store(ints, words.failureLength, 0);
    Atomics.store(ints, words.failed, 0);
    return trapError(trap === undefined ? new TextDecoder().decode(text) : String(trap), trap);
  }

  #postPlan(plan: PoolPlan): void {
    const modules = this.#byIndex
      .slice(this.#numPostedModules)
      .map(({ index, module }) => ({ index, module }));
    this.#numPostedModules = this.#byIndex.length;
    this.#posted.add(plan.id);
    this.#post({ kind: "plan", id: plan.id, stages: plan.stages, modules });
  }

  /** Posts a message to all threads, or to each its own by its number; the calling thread is 0. */
  #post(message: WorkerMessage | ((thread: number) => WorkerMessage)): void {
    // Counted first: a worker that sees the count returns to its event loop and waits there for the message.
    Atomics.add(this.#ints, words.messages, 1);
    for (const [i, thread] of (this.#threads ?? []).entries())
      thread.post(typeof message === "function" ? message(i + 1) : message);
    if (Atomics.load(this.#ints, words.sleepers) > 0) Atomics.notify(this.#ints, words.ticket);
  }

  #workers(): readonly Thread[] {
    if (this.#threads !== undefined) return this.#threads;
    const onLoss = () => this.dispose();
    try {
      const source = workerSource({ spinMs: this.#options.spinMs });
      this.#threads = Array.from({ length: this.#options.threads - 1 }, () => startThread(source, onLoss));
      this.#post((thread) => ({
        kind: "start",
        memory: this.#memory.memory,
        control: this.#control,
        dispatcher: this.#dispatcher,
        args: this.#arguments + thread * MAX_ARGUMENT_BYTES,
      }));
    } catch {
      // No workers here (a content security policy, an engine without them): `threads` then says 1.
      this.#threads = [];
    }
    return this.#threads;
  }
}

function trapError(text: string, cause: unknown): HeddleError {
  return new HeddleError(
    "device",
    `launch: a kernel must not trap; got ${text}. ` +
      "This is a bug of the kernel, or of the caller if the op takes indices that it does not check.",
    { text },
    cause,
  );
}

/** Whether this thread may sleep: a page's main thread may not. */
function canBlock(ints: Int32Array): boolean {
  try {
    Atomics.wait(ints, words.callerAsleep, 1, 0);
    return true;
  } catch {
    return false;
  }
}
