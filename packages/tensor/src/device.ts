import type { DType } from "./dtype.js";
import type { OpSpec } from "./op.js";
import type { TensorType } from "./shape.js";

export type DeviceKind = "reference" | "cpu" | "webgpu";

/** A piece of a device's memory. Only the device that made it may read it. */
export interface DeviceBuffer {
  readonly byteLength: number;
}

/** A lowered op: what a device can launch. Each device narrows this to its own type. */
export interface Kernel {
  readonly name: string;
  /** What runs it: "wasm", "wgsl", or "javascript" where a device has only plain loops. */
  readonly executedOn?: string;
}

export interface MemoryReport {
  /** Buffers and bytes now alive (allocated and not freed). */
  readonly buffers: number;
  readonly bytes: number;
  /** Most bytes ever alive at once. */
  readonly peakBytes: number;
  /** Number of `alloc` calls so far: a step that does not change it allocates nothing. */
  readonly allocations: number;
}

export interface DeviceLimits {
  readonly maxBufferBytes: number;
  readonly threads: number;
  /** Most buffers that one launch may use; default: any number. */
  readonly maxLaunchBuffers?: number;
}

/**
 * Where a launch in a plan finds a buffer: inside the plan's arena, or handed in at each run. `memory` numbers the values of
 * the arena, for devices that lay them out in another way than the offsets say.
 */
export type BufferRef =
  | {
      readonly kind: "arena";
      readonly memory: number;
      readonly byteOffset: number;
      readonly byteLength: number;
    }
  | { readonly kind: "slot"; readonly index: number };

/** One kernel with its buffers: inputs, then outputs. */
export interface Launch {
  readonly kernel: Kernel;
  readonly buffers: readonly BufferRef[];
  /** How many buffers at the end are outputs. Without it all may be written. */
  readonly outputs?: number;
  /** Inputs that are changed in place. */
  readonly mutates?: readonly number[];
}

/** A flat list of launches with every buffer decided; what `compile` hands to a device. */
export interface Program {
  readonly launches: readonly Launch[];
  readonly arenaBytes: number;
  /** Number of buffers that `Plan.run` takes. */
  readonly slots: number;
}

/** A program made ready to run again and again. */
export interface Plan {
  /** Runs every launch in order; `buffers[i]` stands for slot i. Borrows the buffers. */
  run(buffers: readonly DeviceBuffer[]): void;
  /**
   * As `run` with the same buffers again and again: what depends on them is prepared once. The buffers stay alive as long as
   * the result is used. Devices that gain nothing by it lack it.
   */
  bind?(buffers: readonly DeviceBuffer[]): () => void;
  /** As `run`, launch by launch; the milliseconds that each took, its start included. For finding out where time goes. */
  profile?(buffers: readonly DeviceBuffer[]): readonly number[];
  /** Bytes of the arena where the device laid it out anew. */
  readonly arenaBytes?: number;
  /** Frees the arena. */
  dispose(): void;
}

/** One op call, as a device sees it when asked for a kernel. */
export interface OpCall<Params = unknown> {
  readonly op: OpSpec<Params>;
  readonly params: Params;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  /** For each input the output that lies in the same memory, where one does: a fused kernel that updates in place. */
  readonly overwrittenBy?: readonly (number | undefined)[];
}

/**
 * What runs kernels and owns memory. A value that you hold: there is no default device.
 *
 * Buffers of a launch are the op's inputs followed by its outputs.
 */
export interface Device {
  readonly kind: DeviceKind;
  /** The dtype of floats that creation functions use when none is named: f64 on `reference`, else f32. */
  readonly defaultFloat: "f64" | "f32";
  readonly limits: DeviceLimits;
  supports(dtype: DType): boolean;
  alloc(byteLength: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset?: number): void;
  /** Copies bytes out; waits for the launches before it. */
  read(buffer: DeviceBuffer, byteOffset?: number, byteLength?: number): Promise<ArrayBuffer>;
  /** As `read`, at once; devices that share memory with JavaScript have it. */
  readSync?(buffer: DeviceBuffer, byteOffset?: number, byteLength?: number): ArrayBuffer;
  /**
   * The bytes of a buffer where they lie, to be filled from a file without a copy; valid until the buffer is freed. Undefined
   * where JavaScript does not share the device's memory, or where the memory moves when it grows.
   */
  view?(buffer: DeviceBuffer): Uint8Array | undefined;
  /** Whether it has kernels for products together with their neighbours, so that `compile` should look for such groups. */
  readonly joinsProducts?: boolean;
  /** The kernel for an op call, or undefined where the op's reference composition must run instead. */
  lower(call: OpCall): Kernel | undefined;
  launch(kernel: Kernel, buffers: readonly DeviceBuffer[]): void;
  /** Begins what the first launch would wait for, such as starting threads, and returns at once; devices without such have none. */
  start?(): void;
  plan(program: Program): Plan;
  sync(): Promise<void>;
  memory(): MemoryReport;
  /** Stops threads and frees what is left. Tensors of the device are unusable afterwards; freeing one then does nothing. */
  dispose(): void;
}
