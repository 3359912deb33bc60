import { callKey } from "../call-key.js";
import type {
  Device,
  DeviceBuffer,
  DeviceLimits,
  Kernel,
  MemoryReport,
  OpCall,
  Plan,
  Program,
} from "../device.js";
import type { DType } from "../dtype.js";
import { HeddleError, invariant } from "../error.js";
import { detectFeatures } from "./features.js";
import type { CpuFeatures } from "./kernel.js";
import type { CpuKernel } from "./kernel-factory.js";
import { lowerCall } from "./lower.js";
import { LinearMemory } from "./memory.js";
import { bindSteps, type PlanHost, planProgram, runHost, type WasmKernel } from "./plan.js";
import { Pool, type PoolPlan } from "./pool.js";

export interface CpuOptions {
  /** Threads, the calling one included: 1..64; default one for each core, at most 16. 1 where memory cannot be shared. */
  readonly threads?: number;
  /** Most bytes that all tensors together may take: 2 MiB..4 GiB; default 4 GiB. */
  readonly maxBytes?: number;
  /** Switches off what the machine offers, to compare or to test. */
  readonly disable?: {
    readonly relaxedSimd?: boolean;
    readonly revectorized?: boolean;
    readonly int8Dot?: boolean;
  };
}

/** The cpu device, with what only it can tell. */
export interface CpuDevice extends Device {
  readonly kind: "cpu";
  readonly features: CpuFeatures;
  /** Pieces of work that worker threads have done so far. */
  readonly workerChunks: number;
  readSync(buffer: DeviceBuffer, byteOffset?: number, byteLength?: number): ArrayBuffer;
}

interface CpuBuffer extends DeviceBuffer {
  readonly address: number;
  isAlive: boolean;
}

const MIN_BYTES = 2 ** 21;
const MAX_BYTES = 2 ** 32;

/** Kernels of one op that are kept; beyond it (shapes that change all the time) they are made anew. */
const MAX_KERNELS_PER_OP = 1024;

/**
 * The CPU: WebAssembly SIMD kernels emitted for each op call, in one memory, on a pool of threads.
 *
 * Tensors live in one `WebAssembly.Memory` of at most 4 GiB, shared with worker threads in Node and in cross-origin isolated
 * pages; elsewhere everything runs on the calling thread (`limits.threads` says so).
 * @throws HeddleError "unsupported" without WebAssembly SIMD, "config" for impossible options
 */
export function cpu(options: CpuOptions = {}): CpuDevice {
  const unknown = Object.keys(options).find((name) => !["threads", "maxBytes", "disable"].includes(name));
  if (unknown !== undefined) {
    throw new HeddleError(
      "config",
      `cpu: options are threads, maxBytes and disable; got ${unknown}. Remove it or mend its spelling.`,
      { option: unknown },
    );
  }
  const { maxBytes = MAX_BYTES } = options;
  if (!(Number.isInteger(maxBytes) && maxBytes >= MIN_BYTES && maxBytes <= MAX_BYTES)) {
    throw new HeddleError(
      "config",
      `cpu: maxBytes must be a whole number in ${MIN_BYTES}..${MAX_BYTES}; got maxBytes ${maxBytes}. Leave it out for 4 GiB.`,
      { maxBytes },
    );
  }
  const found = detectFeatures(options.threads === undefined ? {} : { threads: options.threads });
  const { disable } = options;
  return new WasmDevice(options, {
    ...found,
    relaxedSimd: found.relaxedSimd && disable?.relaxedSimd !== true,
    revectorized: found.revectorized && disable?.revectorized !== true,
    int8Dot: found.int8Dot && disable?.int8Dot !== true && disable?.relaxedSimd !== true,
  });
}

/** Device-wide state that every launch and plan works on. */
interface Parts {
  readonly heap: LinearMemory;
  readonly pool: Pool;
}

class WasmDevice implements CpuDevice {
  readonly kind = "cpu";
  readonly defaultFloat = "f32";
  readonly features: CpuFeatures;
  readonly limits: DeviceLimits;
  readonly #kernels = new WeakMap<object, Map<string, CpuKernel | undefined>>();
  readonly #prepared = new WeakMap<WasmKernel, PoolPlan>();
  readonly #host: PlanHost;
  #parts: Parts | undefined;
  #scratch = { address: 0, byteLength: 0 };
  #lastReport: MemoryReport = { buffers: 0, bytes: 0, peakBytes: 0, allocations: 0 };

  constructor({ maxBytes }: CpuOptions, features: CpuFeatures) {
    const heap = new LinearMemory({
      isShared: features.sharedMemory,
      ...(maxBytes === undefined ? {} : { maxBytes }),
    });
    const pool = new Pool(heap, { threads: features.threads });
    this.features = features;
    this.#parts = { heap, pool };
    this.#host = {
      heap,
      pool,
      scratch: (byteLength) => this.#scratchOf(byteLength),
      addressOf: (buffer) => this.#addressOf(buffer),
    };
    this.limits = {
      maxBufferBytes: heap.maxBytes - 2 ** 20,
      get threads() {
        return pool.threads;
      },
    };
  }

  get workerChunks(): number {
    return this.#host.pool.workerChunks;
  }

  supports(dtype: DType): boolean {
    return dtype !== "f64";
  }

  alloc(byteLength: number): DeviceBuffer {
    const buffer: CpuBuffer = {
      byteLength,
      address: this.#alive("alloc").heap.alloc(byteLength),
      isAlive: true,
    };
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    const cpuBuffer = buffer as CpuBuffer;
    invariant(cpuBuffer.isAlive, "a buffer was freed twice");
    cpuBuffer.isAlive = false;
    this.#parts?.heap.free(cpuBuffer.address);
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    const { heap } = this.#alive("write");
    invariant(byteOffset + data.byteLength <= buffer.byteLength, "a write went past the end of its buffer");
    const source = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    heap.bytes().set(source, this.#addressOf(buffer) + byteOffset);
  }

  async read(buffer: DeviceBuffer, byteOffset?: number, byteLength?: number): Promise<ArrayBuffer> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  readSync(buffer: DeviceBuffer, byteOffset = 0, byteLength = buffer.byteLength - byteOffset): ArrayBuffer {
    const { heap } = this.#alive("read");
    invariant(byteOffset + byteLength <= buffer.byteLength, "a read went past the end of its buffer");
    const start = this.#addressOf(buffer) + byteOffset;
    const copy = new Uint8Array(byteLength);
    copy.set(heap.bytes().subarray(start, start + byteLength));
    return copy.buffer;
  }

  view(buffer: DeviceBuffer): Uint8Array | undefined {
    const { heap } = this.#alive("view");
    const start = this.#addressOf(buffer);
    // A view of shared memory stays valid when the memory grows; one of other memory is cut off.
    return heap.isShared ? heap.bytes().subarray(start, start + buffer.byteLength) : undefined;
  }

  lower(call: OpCall): Kernel | undefined {
    const key = callKey(call);
    if (key === undefined) return lowerCall(call, this.features);
    const known = this.#kernelsOf(call.op);
    if (known.has(key)) return known.get(key);
    if (known.size >= MAX_KERNELS_PER_OP) this.#forget(known);
    const kernel = lowerCall(call, this.features);
    known.set(key, kernel);
    return kernel;
  }

  launch(kernel: Kernel, buffers: readonly DeviceBuffer[]): void {
    const { heap, pool } = this.#alive("launch");
    const cpuKernel = kernel as CpuKernel;
    const addresses = buffers.map((buffer) => this.#addressOf(buffer));
    if (cpuKernel.kind === "host") {
      runHost(heap, cpuKernel, addresses);
      return;
    }
    const plan = this.#prepared.get(cpuKernel) ?? this.#prepare(cpuKernel, buffers.length);
    addresses.push(this.#scratchOf(cpuKernel.scratchBytes));
    pool.run(plan, addresses);
  }

  start(): void {
    this.#alive("start").pool.start();
  }

  plan(program: Program): Plan {
    this.#alive("plan");
    return planProgram(this.#host, program);
  }

  async sync(): Promise<void> {
    // Launches and plans return when they are done.
  }

  memory(): MemoryReport {
    return this.#parts?.heap.report() ?? this.#lastReport;
  }

  dispose(): void {
    if (this.#parts === undefined) return;
    this.#lastReport = { ...this.#parts.heap.report(), buffers: 0, bytes: 0 };
    this.#parts.pool.dispose();
    this.#parts = undefined;
  }

  #alive(caller: string): Parts {
    if (this.#parts !== undefined) return this.#parts;
    throw new HeddleError(
      "disposed",
      `${caller}: the device must be alive; got a cpu device after its dispose(). Make a new one with cpu().`,
    );
  }

  #addressOf(buffer: DeviceBuffer | undefined): number {
    const cpuBuffer = buffer as CpuBuffer | undefined;
    invariant(cpuBuffer?.isAlive, "a buffer was used after it was freed");
    return cpuBuffer.address;
  }

  #kernelsOf(op: object): Map<string, CpuKernel | undefined> {
    let known = this.#kernels.get(op);
    if (known === undefined) {
      known = new Map();
      this.#kernels.set(op, known);
    }
    return known;
  }

  #prepare(kernel: WasmKernel, numBuffers: number): PoolPlan {
    const { pool } = this.#alive("launch");
    const slots = Array.from(
      { length: numBuffers + 1 },
      (_, slot) => ({ kind: "slot", slot, byteOffset: 0 }) as const,
    );
    const plan = pool.prepare(
      bindSteps(kernel, slots, { kind: "slot", slot: numBuffers, byteOffset: 0 }),
      numBuffers + 1,
    );
    this.#prepared.set(kernel, plan);
    return plan;
  }

  #forget(known: Map<string, CpuKernel | undefined>): void {
    for (const kernel of known.values()) {
      const plan = kernel?.kind === "wasm" ? this.#prepared.get(kernel) : undefined;
      if (plan !== undefined) this.#parts?.pool.drop(plan);
    }
    known.clear();
  }

  /** One scratch for all launches, which run one after the other; it grows to the largest need. */
  #scratchOf(byteLength: number): number {
    if (byteLength > this.#scratch.byteLength) {
      const { heap } = this.#alive("launch");
      if (this.#scratch.byteLength > 0) heap.free(this.#scratch.address);
      this.#scratch = { address: 0, byteLength: 0 };
      this.#scratch = { address: heap.alloc(byteLength, { isCounted: false }), byteLength };
    }
    return this.#scratch.address;
  }
}
