import {
  type Device,
  type DeviceBuffer,
  type DeviceLimits,
  type DType,
  HeddleError,
  invariant,
  type Kernel,
  type MemoryReport,
  type OpCall,
  type Plan,
  type Program,
} from "@heddle/tensor";
import { callKey, lowerWgsl, type WgslFeatures } from "@heddle/tensor/kernel";
import { Binder } from "./binder.js";
import { BufferPool } from "./buffer-pool.js";
import { type GpuBuffer, pooledBuffer } from "./gpu-buffer.js";
import { Health } from "./health.js";
import { Joiner } from "./joiner.js";
import type { GpuKernel } from "./kernel.js";
import { mapRead, type NativeAdapterInfo, type NativeBuffer, type NativeDevice, usage } from "./native.js";
import { Pipelines } from "./pipelines.js";
import { type PlanHost, planProgram } from "./plan.js";
import { Recorder } from "./recorder.js";

/** The webgpu device, with what only it can tell. */
export interface WebGpuDevice extends Device {
  readonly kind: "webgpu";
  /** The GPUDevice; work that is recorded but not yet submitted is handed to its queue by `sync` and `flush`. */
  readonly native: NativeDevice;
  readonly features: WgslFeatures;
  /** Vendor, architecture and name of the adapter; empty strings where a caller's device does not tell. */
  readonly adapter: NativeAdapterInfo;
  /** Hands recorded work to the queue without waiting for it. */
  flush(): void;
  /** Bytes of freed buffers that wait for reuse, beside those that `memory()` counts. */
  readonly idleBytes: number;
  /** Hands idle buffers back to the driver. */
  trim(): void;
  /** For `fromBuffer`: a stretch of a caller's buffer as memory of this device. */
  adopt(
    native: NativeBuffer,
    range: { readonly byteOffset: number; readonly byteLength: number },
  ): DeviceBuffer;
}

export interface WebGpuParts {
  readonly native: NativeDevice;
  readonly features: WgslFeatures;
  readonly adapter: NativeAdapterInfo;
  readonly limits: DeviceLimits;
  /** Byte offsets of bindings are multiples of this. */
  readonly offsetAlignment: number;
  /** Destroyed with this device; false for a caller's. */
  readonly isOwned: boolean;
  readonly maxIdleBytes: number;
  /** Steps that are bound once and run often are joined into fewer dispatches. */
  readonly joinsSteps: boolean;
}

/** Kernels of one op that are kept; beyond it (shapes that change all the time) they are made anew. */
const maxKernelsPerOp = 1024;

/** Makes the device around a native one. */
export function createDevice(parts: WebGpuParts): WebGpuDevice {
  return new DawnDevice(parts);
}

class DawnDevice implements WebGpuDevice {
  readonly kind = "webgpu";
  readonly defaultFloat = "f32";
  readonly joinsProducts = true;
  readonly native: NativeDevice;
  readonly features: WgslFeatures;
  readonly adapter: NativeAdapterInfo;
  readonly limits: DeviceLimits;
  /** Gone after dispose(). */
  #parts: WebGpuParts | undefined;
  readonly #health: Health;
  readonly #pool: BufferPool;
  readonly #recorder: Recorder;
  readonly #binder: Binder;
  readonly #pipelines: Pipelines;
  readonly #kernels = new WeakMap<object, Map<string, GpuKernel | undefined>>();
  readonly #planHost: PlanHost;
  readonly #memory = { buffers: 0, bytes: 0, peakBytes: 0, allocations: 0 };
  readonly #readers: NativeBuffer[] = [];
  #isDisposed = false;

  constructor(parts: WebGpuParts) {
    this.#parts = parts;
    this.native = parts.native;
    this.features = parts.features;
    this.adapter = parts.adapter;
    this.limits = parts.limits;
    this.#health = new Health(parts.native);
    this.#recorder = new Recorder(parts.native);
    const host = { native: parts.native, health: this.#health, recorder: this.#recorder };
    this.#pool = new BufferPool(host, {
      maxIdleBytes: parts.maxIdleBytes,
      maxBufferBytes: parts.limits.maxBufferBytes,
    });
    this.#binder = new Binder(parts.native, this.#recorder, this.#pool);
    this.#pipelines = new Pipelines(parts.native);
    this.#planHost = {
      joiner: parts.joinsSteps
        ? new Joiner({
            pipelines: this.#pipelines,
            features: parts.features,
            alloc: (byteLength) => this.alloc(byteLength),
            write: (buffer, words) => this.write(buffer, words),
          })
        : undefined,
      recorder: this.#recorder,
      binder: this.#binder,
      alloc: (byteLength) => this.alloc(byteLength),
      free: (buffer) => this.free(buffer),
      check: () => this.#check("run"),
    };
  }

  get idleBytes(): number {
    return this.#pool.idleBytes;
  }

  supports(dtype: DType): boolean {
    return dtype !== "f64";
  }

  alloc(byteLength: number): GpuBuffer {
    this.#check("alloc");
    const { maxBufferBytes } = this.limits;
    if (byteLength > maxBufferBytes) {
      throw new HeddleError(
        "capacity",
        `webgpu: one tensor may take at most ${maxBufferBytes} bytes on this adapter (the smaller of maxBufferSize and maxStorageBufferBindingSize); got ${byteLength}. Split it, or store it in a smaller dtype.`,
        { byteLength, maxBufferBytes },
      );
    }
    const memory = this.#memory;
    memory.buffers++;
    memory.allocations++;
    memory.bytes += byteLength;
    memory.peakBytes = Math.max(memory.peakBytes, memory.bytes);
    return pooledBuffer(this.#pool.take(byteLength), byteLength);
  }

  free(buffer: DeviceBuffer): void {
    const gpuBuffer = buffer as GpuBuffer;
    invariant(gpuBuffer.isAlive, "a buffer was freed twice");
    gpuBuffer.isAlive = false;
    if (this.#isDisposed) return;
    this.#memory.buffers--;
    this.#memory.bytes -= gpuBuffer.byteLength;
    if (gpuBuffer.pooled) this.#pool.give(gpuBuffer.pooled);
  }

  adopt(
    native: NativeBuffer,
    range: { readonly byteOffset: number; readonly byteLength: number },
  ): GpuBuffer {
    this.#check("fromBuffer");
    const { byteOffset, byteLength } = range;
    const offsetAlignment = this.#parts?.offsetAlignment ?? 256;
    const boundBytes = Math.max(4, Math.ceil(byteLength / 4) * 4);
    if (byteOffset % offsetAlignment !== 0 || byteOffset + boundBytes > native.size) {
      throw new HeddleError(
        "capacity",
        `fromBuffer: the tensor must begin at a multiple of ${offsetAlignment} bytes and end inside the buffer (in whole words); got byteOffset ${byteOffset}, ${boundBytes} bytes of a buffer of ${native.size}. Copy the part into a buffer of its own.`,
        { byteOffset, byteLength, size: native.size },
      );
    }
    this.#memory.buffers++;
    this.#memory.bytes += byteLength;
    this.#memory.peakBytes = Math.max(this.#memory.peakBytes, this.#memory.bytes);
    const id = this.#pool.nextId();
    return {
      byteLength,
      native,
      byteOffset,
      boundBytes,
      id,
      pooled: undefined,
      isAlive: true,
      touched: { batch: 0 },
    };
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    this.#check("write");
    const { native, byteOffset: start, touched, byteLength } = this.#alive(buffer);
    invariant(byteOffset % 4 === 0, "a write must begin at a whole word");
    invariant(byteOffset + data.byteLength <= byteLength, "a write went past the end of its buffer");
    if (data.byteLength === 0) return;
    // What is recorded but not submitted would run after the write.
    if (touched.batch === this.#recorder.batch) this.#recorder.flush();
    const { bytes, offset, length } = wholeWords(data);
    this.native.queue.writeBuffer(native, start + byteOffset, bytes, offset, length);
  }

  async read(
    buffer: DeviceBuffer,
    byteOffset = 0,
    byteLength = buffer.byteLength - byteOffset,
  ): Promise<ArrayBuffer> {
    this.#check("read");
    const source = this.#alive(buffer);
    invariant(byteOffset + byteLength <= source.byteLength, "a read went past the end of its buffer");
    if (byteLength === 0) return new ArrayBuffer(0);
    const first = Math.floor(byteOffset / 4) * 4;
    const size = Math.ceil((byteOffset + byteLength - first) / 4) * 4;
    const reader = this.#takeReader(size);
    const from = { native: source.native, byteOffset: source.byteOffset + first };
    this.#recorder.copy(from, { native: reader, byteOffset: 0 }, size);
    this.#recorder.flush();
    try {
      await this.#health.wait(reader.mapAsync(mapRead) as Promise<unknown>);
    } catch (error) {
      reader.destroy();
      throw error;
    }
    const copy = reader.getMappedRange(0, size).slice(byteOffset - first, byteOffset - first + byteLength);
    reader.unmap();
    this.#giveReader(reader);
    this.#health.check();
    return copy;
  }

  lower(call: OpCall): Kernel | undefined {
    const key = callKey(call);
    if (key === undefined) return this.#lower(call);
    const text = call.overwrittenBy === undefined ? key : `${key}/${call.overwrittenBy.join()}`;
    let known = this.#kernels.get(call.op);
    if (known === undefined) {
      known = new Map();
      this.#kernels.set(call.op, known);
    }
    if (known.has(text)) return known.get(text);
    if (known.size >= maxKernelsPerOp) known.clear();
    const kernel = this.#lower(call);
    known.set(text, kernel);
    return kernel;
  }

  launch(kernel: Kernel, buffers: readonly DeviceBuffer[]): void {
    this.#check("launch");
    const { prepared, scratch } = kernel as GpuKernel;
    const pooled = scratch.map((bytes) => this.#pool.take(bytes));
    const memory = {
      buffers: buffers.map((buffer) => this.#alive(buffer)),
      scratch: pooled.map((buffer, i) => pooledBuffer(buffer, scratch[i] ?? 0)),
    };
    for (const step of prepared) this.#binder.dispatch(step, memory);
    for (const buffer of pooled) this.#pool.give(buffer);
    this.#recorder.flushIfFull();
  }

  plan(program: Program): Plan {
    this.#check("plan");
    return planProgram(this.#planHost, program);
  }

  flush(): void {
    this.#recorder.flush();
  }

  async sync(): Promise<void> {
    this.#check("sync");
    this.#recorder.flush();
    await this.#health.wait(this.native.queue.onSubmittedWorkDone());
    this.#health.check();
  }

  memory(): MemoryReport {
    return { ...this.#memory };
  }

  trim(): void {
    this.#pool.trim();
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#recorder.flush();
    this.#isDisposed = true;
    this.#memory.buffers = 0;
    this.#memory.bytes = 0;
    this.#health.stop();
    for (const reader of this.#readers) reader.destroy();
    this.#pool.dispose();
    this.#pipelines.dispose();
    if (this.#parts?.isOwned) this.native.destroy();
    this.#parts = undefined;
  }

  #lower(call: OpCall): GpuKernel | undefined {
    const kernel = lowerWgsl(call, this.features);
    if (kernel === undefined) return undefined;
    const { name } = call.op;
    const prepared = this.#pipelines.prepare(name, kernel);
    return { name, executedOn: "wgsl", prepared, scratch: kernel.scratch ?? [] };
  }

  #alive(buffer: DeviceBuffer): GpuBuffer {
    const gpuBuffer = buffer as GpuBuffer;
    invariant(gpuBuffer.isAlive, "a buffer was used after it was freed");
    return gpuBuffer;
  }

  #check(caller: string): void {
    if (this.#isDisposed) {
      throw new HeddleError(
        "disposed",
        `${caller}: the device must be alive; got a webgpu device after its dispose(). Make a new one with await webgpu().`,
      );
    }
    this.#health.checkPresent();
  }

  #takeReader(size: number): NativeBuffer {
    const at = this.#readers.findIndex(
      (reader) => reader.size >= size && reader.size <= Math.max(size * 4, 65536),
    );
    const [found] = at < 0 ? [] : this.#readers.splice(at, 1);
    if (found) return found;
    const rounded = Math.max(2 ** Math.ceil(Math.log2(size)), 256);
    return this.native.createBuffer({ size: rounded, usage: usage.mapRead | usage.copyTarget });
  }

  #giveReader(reader: NativeBuffer): void {
    if (this.#isDisposed || this.#readers.length >= 8 || reader.size > 2 ** 24) reader.destroy();
    else this.#readers.push(reader);
  }
}

/** The bytes of a view, padded to whole words. */
function wholeWords(data: ArrayBufferView): { bytes: ArrayBuffer; offset: number; length: number } {
  const length = Math.ceil(data.byteLength / 4) * 4;
  const isPlain = data.buffer instanceof ArrayBuffer;
  if (isPlain && length === data.byteLength) {
    return { bytes: data.buffer as ArrayBuffer, offset: data.byteOffset, length };
  }
  const copy = new Uint8Array(length);
  copy.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { bytes: copy.buffer, offset: 0, length };
}
