import { HeddleError } from "@heddle/tensor";
import type { Health } from "./health.js";
import { type NativeBuffer, type NativeDevice, usage } from "./native.js";

/** Device memory as the pool hands it out; `id` is unique to a native buffer. */
export interface PooledBuffer {
  readonly native: NativeBuffer;
  readonly id: number;
  readonly sizeBytes: number;
  readonly touched: { batch: number };
}

/** Sizes that buffers are made in: 256 bytes, then four steps for each doubling. At most a quarter is wasted. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.max(Math.ceil(bytes / step) * step, 256);
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
  readonly #native: NativeDevice;
  readonly #health: Health;
  readonly #limits: PoolLimits;
  readonly #idle = new Map<number, PooledBuffer[]>();
  readonly #all = new Set<PooledBuffer>();
  #idleBytes = 0;
  #nextId = 1;

  constructor(native: NativeDevice, health: Health, limits: PoolLimits) {
    this.#native = native;
    this.#health = health;
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
    const buffer = { native: this.#create(sizeBytes), id: this.nextId(), sizeBytes, touched: { batch: 0 } };
    this.#all.add(buffer);
    return buffer;
  }

  give(buffer: PooledBuffer): void {
    const { sizeBytes } = buffer;
    if (this.#idleBytes + sizeBytes > this.#limits.maxIdleBytes) {
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
    this.#all.delete(buffer);
    buffer.native.destroy();
  }

  #create(size: number): NativeBuffer {
    this.#native.pushErrorScope("out-of-memory");
    const buffer = this.#native.createBuffer({
      size,
      usage: usage.storage | usage.copySource | usage.copyTarget,
    });
    this.#native.popErrorScope().then(
      (error) => {
        if (error === null) return;
        this.trim();
        this.#health.report(
          new HeddleError(
            "capacity",
            `webgpu: the GPU must have room for every tensor; got no memory for ${size} more bytes (${error.message}). Free tensors, use a smaller batch or cache, or a quantised model.`,
            { bytes: size },
          ),
        );
      },
      () => {},
    );
    return buffer;
  }
}
