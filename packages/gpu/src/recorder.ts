import type { NativeBuffer, NativeComputePass, NativeDevice, NativeEncoder } from "./native.js";

/** Dispatches that are recorded before they are handed to the queue by themselves. */
const maxRecorded = 64;

/** Collects dispatches and copies in one command buffer, so that an op does not pay for a submission of its own. */
export class Recorder {
  readonly #native: NativeDevice;
  #encoder: NativeEncoder | undefined;
  #pass: NativeComputePass | undefined;
  #pipeline: object | undefined;
  #recorded = 0;
  /** Counts submissions; what was recorded since the last one has this number. */
  #batch = 1;

  constructor(native: NativeDevice) {
    this.#native = native;
  }

  /** Number of the batch being recorded. */
  get batch(): number {
    return this.#batch;
  }

  dispatch(pipeline: object, group: object, grid: readonly [number, number, number]): void {
    if (this.#pass === undefined) {
      this.#encoder ??= this.#native.createCommandEncoder();
      this.#pass = this.#encoder.beginComputePass();
      this.#pipeline = undefined;
    }
    if (this.#pipeline !== pipeline) {
      this.#pass.setPipeline(pipeline);
      this.#pipeline = pipeline;
    }
    this.#pass.setBindGroup(0, group);
    // Arguments that may be left out cost time to convert.
    if (grid[1] === 1 && grid[2] === 1) this.#pass.dispatchWorkgroups(grid[0]);
    else this.#pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    this.#recorded++;
  }

  copy(
    source: { readonly native: NativeBuffer; readonly byteOffset: number },
    target: { readonly native: NativeBuffer; readonly byteOffset: number },
    bytes: number,
  ): void {
    this.#endPass();
    this.#encoder ??= this.#native.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(
      source.native,
      source.byteOffset,
      target.native,
      target.byteOffset,
      bytes,
    );
    this.#recorded++;
  }

  /** Submits once enough has been recorded. */
  flushIfFull(limit = maxRecorded): void {
    if (this.#recorded >= limit) this.flush();
  }

  /** Hands what was recorded to the queue. */
  flush(): void {
    if (this.#encoder === undefined) return;
    this.#endPass();
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    this.#recorded = 0;
    this.#batch++;
    this.#native.queue.submit([commands]);
  }

  /** Drops what was recorded. */
  abandon(): void {
    this.#pass = undefined;
    this.#encoder = undefined;
    this.#recorded = 0;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
