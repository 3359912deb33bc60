import type { DeviceBuffer } from "@heddle/tensor";
import type { PooledBuffer } from "./buffer-pool.js";
import type { NativeBuffer } from "./native.js";

/** A buffer of a WebGPU device, or a stretch of one that the caller owns. */
export interface GpuBuffer extends DeviceBuffer {
  readonly native: NativeBuffer;
  readonly byteOffset: number;
  /** Bytes that bindings show. */
  readonly boundBytes: number;
  /** Equal for buffers that show the same bytes. */
  readonly id: number;
  /** What goes back to the pool; none for a buffer that the caller owns. */
  readonly pooled: PooledBuffer | undefined;
  isAlive: boolean;
  /** The batch of the recorder that used the native buffer last. */
  readonly touched: { batch: number };
}

/** A buffer of the pool as long as one tensor has it. */
export function pooledBuffer(pooled: PooledBuffer, byteLength: number): GpuBuffer {
  return {
    byteLength,
    native: pooled.native,
    byteOffset: 0,
    boundBytes: pooled.sizeBytes,
    id: pooled.id,
    pooled,
    isAlive: true,
    touched: pooled.touched,
  };
}
