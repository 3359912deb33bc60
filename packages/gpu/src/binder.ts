import { invariant } from "@heddle/tensor";
import { smallUniformBytes, type WgslBinding } from "@heddle/tensor/kernel";
import type { BufferPool, PooledBuffer } from "./buffer-pool.js";
import { type GpuBuffer, pooledBuffer } from "./gpu-buffer.js";
import type { NativeDevice } from "./native.js";
import type { PreparedStep } from "./pipelines.js";
import type { Recorder } from "./recorder.js";

/** Beyond so many the memo of bind groups is begun anew. */
const maxGroups = 8192;

/** Memory of one launch: its buffers, and the scratch of its kernel. */
export interface LaunchMemory {
  readonly buffers: readonly GpuBuffer[];
  readonly scratch: readonly GpuBuffer[];
}

/** Finds the memory that a binding shows. */
export function memoryOf({ memory }: WgslBinding, { buffers, scratch }: LaunchMemory): GpuBuffer {
  const found = memory.kind === "buffer" ? buffers[memory.index] : scratch[memory.index];
  invariant(found, `a kernel uses ${memory.kind} ${memory.index} of ${buffers.length} and ${scratch.length}`);
  return found;
}

/** Makes bind groups and records dispatches. */
export class Binder {
  readonly #native: NativeDevice;
  readonly #recorder: Recorder;
  readonly #pool: BufferPool;
  readonly #groups = new Map<PreparedStep, Map<string, object>>();
  #numGroups = 0;

  constructor(native: NativeDevice, recorder: Recorder, pool: BufferPool) {
    this.#native = native;
    this.#recorder = recorder;
    this.#pool = pool;
  }

  /** A bind group for a step over given buffers. */
  createGroup({ layout, uniforms, bindings }: PreparedStep, buffers: readonly GpuBuffer[]): object {
    const entries = buffers.map(({ native: buffer, byteOffset: offset, boundBytes }, binding) => ({
      binding,
      resource: {
        buffer,
        offset,
        size: bindings[binding]?.access === "uniform" ? smallUniformBytes : boundBytes,
      },
    }));
    const { length } = entries;
    const uniform = uniforms && { buffer: uniforms.buffer, offset: uniforms.offset, size: uniforms.size };
    return this.#native.createBindGroup({
      layout,
      entries: uniform ? [...entries, { binding: length, resource: uniform }] : entries,
    });
  }

  /** Records a step of an eager launch. */
  dispatch(step: PreparedStep, memory: LaunchMemory): void {
    this.dispatchBound(
      step,
      step.bindings.map((binding) => memoryOf(binding, memory)),
    );
  }

  /** Records a step over the buffers of its bindings. */
  dispatchBound(step: PreparedStep, bound: readonly GpuBuffer[]): void {
    const { buffers, temporary } = this.#separate(step, bound);
    const { batch } = this.#recorder;
    for (const buffer of buffers) buffer.touched.batch = batch;
    this.#recorder.dispatch(step.pipeline, this.#groupOf(step, buffers), step.grid);
    for (const buffer of temporary) this.#pool.give(buffer);
  }

  /**
   * WebGPU refuses to read and to write one native buffer in one dispatch: what would be read is copied aside first.
   */
  #separate(
    { bindings }: PreparedStep,
    buffers: readonly GpuBuffer[],
  ): { buffers: readonly GpuBuffer[]; temporary: readonly PooledBuffer[] } {
    const written = new Set(
      buffers.flatMap((buffer, i) => (bindings[i]?.access === "read_write" ? [buffer.native] : [])),
    );
    const isClash = (i: number) =>
      bindings[i]?.access === "read" && written.has((buffers[i] as GpuBuffer).native);
    if (written.size === 0 || !buffers.some((_, i) => isClash(i))) return { buffers, temporary: [] };
    const temporary: PooledBuffer[] = [];
    const apart = buffers.map((buffer, i) => {
      if (!isClash(i)) return buffer;
      const pooled = this.#pool.take(buffer.boundBytes);
      temporary.push(pooled);
      const bytes = Math.ceil(buffer.byteLength / 4) * 4;
      this.#recorder.copy(buffer, { native: pooled.native, byteOffset: 0 }, bytes);
      return pooledBuffer(pooled, buffer.byteLength);
    });
    return { buffers: apart, temporary };
  }

  #groupOf(step: PreparedStep, buffers: readonly GpuBuffer[]): object {
    let known = this.#groups.get(step);
    if (known === undefined) {
      known = new Map();
      this.#groups.set(step, known);
    }
    let key = "";
    for (const { id } of buffers) key += `${id},`;
    let group = known.get(key);
    if (group === undefined) {
      if (this.#numGroups >= maxGroups) {
        this.#groups.clear();
        this.#numGroups = 0;
        known = new Map();
        this.#groups.set(step, known);
      }
      group = this.createGroup(step, buffers);
      known.set(key, group);
      this.#numGroups++;
    }
    return group;
  }
}
