import type { Health } from "./health.js";
import { type NativeBuffer, type NativeDevice, usage } from "./native.js";
import type { Recorder } from "./recorder.js";

/** Device memory as the pool hands it out; `id` is unique to a native buffer. */
export interface PooledBuffer {
  readonly native: NativeBuffer;
  readonly id: number;
  readonly sizeBytes: number;
  readonly touched: { batch: number };
  /** The GPU had no room for it, which it says later: it is not used again. */
  isMissing: boolean;
}

/** Sizes that buffers are made in: 256 bytes, then four steps for each doubling. At most a quarter is wasted. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.max(Math.ceil(bytes / step) * step, 256);
}

export interface PoolHost {
  readonly native: NativeDevice;
  readonly health: Health;
  readonly recorder: Recorder;
}

export interface PoolLimits {
  /** Bytes that are kept for reuse at most. */
  readonly maxIdleBytes: number;
  readonly maxBufferBytes: number;
}

/**
 * Keeps freed buffers for the next of their size class. Reuse needs no waiting: the queue runs in order.
 */
export class BufferPool {
  readonly #host: PoolHost;
  readonly #limits: PoolLimits;
  readonly #idle = new Map<number, PooledBuffer[]>();
  readonly #all = new Set<PooledBuffer>();
  #idleBytes = 0;
  #nextId = 1;

  constructor(host: PoolHost, limits: PoolLimits) {
    this.#host = host;
    this.#limits = limits;
  }

  /** Bytes that wait for reuse. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A number that no other buffer of the device has. */
  nextId(): number {
    return this.#nextId++;
  }

  take(bytes: number): PooledBuffer {
    const sizeBytes = Math.max(bytes, Math.min(sizeClass(bytes), this.#limits.maxBufferBytes));
    const idle = this.#idle.get(sizeBytes)?.pop();
    if (idle) {
      this.#idleBytes -= sizeBytes;
      return idle;
    }
    const buffer = this.#create(sizeBytes);
    this.#all.add(buffer);
    return buffer;
  }

  give(buffer: PooledBuffer): void {
    const { sizeBytes, isMissing } = buffer;
    if (isMissing || this.#idleBytes + sizeBytes > this.#limits.maxIdleBytes) {
      this.#destroy(buffer);
      return;
    }
    this.#idleBytes += sizeBytes;
    const list = this.#idle.get(sizeBytes);
    if (list) list.push(buffer);
    else this.#idle.set(sizeBytes, [buffer]);
  }

  /** Hands all idle buffers back to the driver. */
  trim(): void {
    for (const list of this.#idle.values()) for (const buffer of list) this.#destroy(buffer);
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  /** Destroys every buffer, used or not. */
  dispose(): void {
    for (const buffer of this.#all) buffer.native.destroy();
    this.#all.clear();
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  #destroy(buffer: PooledBuffer): void {
    const { recorder } = this.#host;
    // What is recorded but not submitted may not use a destroyed buffer.
    if (buffer.touched.batch === recorder.batch) recorder.flush();
    this.#all.delete(buffer);
    if (buffer.isMissing) this.#host.health.countMissing(-1);
    buffer.native.destroy();
  }

  #create(sizeBytes: number): PooledBuffer {
    const { native: device, health } = this.#host;
    device.pushErrorScope("out-of-memory");
    const native = device.createBuffer({
      size: sizeBytes,
      // Joined steps bind small ones as uniforms.
      usage: usage.storage | usage.uniform | usage.copySource | usage.copyTarget,
    });
    const buffer = { native, id: this.nextId(), sizeBytes, touched: { batch: 0 }, isMissing: false };
    const answer = device.popErrorScope().then((error) => {
      if (error === null) return;
      buffer.isMissing = true;
      health.reportFull(error, sizeBytes);
      health.countMissing(1);
      this.trim();
    });
    health.expect(answer);
    return buffer;
  }
}
