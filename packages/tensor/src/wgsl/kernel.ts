import type { DType } from "../dtype.js";
import type { MatrixUnit } from "./matrix-unit.js";

/** What the adapter offers to writers of WGSL. */
export interface WgslFeatures {
  /** Half-precision arithmetic (`enable f16;`). f16 tensors work without it: they are unpacked to f32. */
  readonly f16: boolean;
  /** Smallest and largest subgroup, or undefined where `enable subgroups;` is not available. */
  readonly subgroups: { readonly min: number; readonly max: number } | undefined;
  /** Shapes of subgroup matrix products (`enable chromium_experimental_subgroup_matrix;`); empty where there are none. */
  readonly subgroupMatrices: readonly SubgroupMatrixShape[];
  /** How kernels write such products, in place of the adapter's own: an emulation of them, for tests. */
  readonly matrixUnit?: MatrixUnit;
  /** Threads of a workgroup at most. */
  readonly maxThreads: number;
  /** Bytes of workgroup memory at most. */
  readonly maxWorkgroupBytes: number;
  /** Tensors and scratch buffers that one step may use at most. */
  readonly maxBuffers: number;
  /** Threads that workgroups of one row should have: only steps with equally many are joined. Undefined where none are. */
  readonly joinThreads?: number;
}

export interface SubgroupMatrixShape {
  readonly component: "f16" | "f32" | "i8" | "u8";
  readonly result: "f16" | "f32" | "i32" | "u32";
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Which memory a step's binding shows: a buffer of the launch (inputs first, then outputs) or the kernel's scratch. */
export type WgslMemory =
  | { readonly kind: "buffer"; readonly index: number }
  | { readonly kind: "scratch"; readonly index: number };

export interface WgslBinding {
  readonly memory: WgslMemory;
  /** "uniform" shows a small buffer that is only read as a uniform, of which a step may have more. */
  readonly access: "read" | "read_write" | "uniform";
}

/** A buffer that a step uses under a name: `load_NAME(i)` reads element i, `store_NAME(i, value)` writes it. */
export interface BufferUse {
  readonly name: string;
  readonly memory: WgslMemory;
  readonly dtype: DType;
  /**
   * "read", "write" (each thread writes elements that no other touches), or "readWrite". A store to a packed dtype changes
   * one lane of a word that other threads may be writing too, atomically; the array then holds `atomic<u32>`. "words" is
   * "readWrite" for threads that own whole words: there is no `store_NAME`, the code assigns `NAME[word]` itself.
   */
  readonly access: "read" | "write" | "readWrite" | "words";
  /** Declares the array with this element, such as `vec4u`, for code that reads whole vectors itself; no accessors then. */
  readonly element?: string;
}

/** A uniform: a whole number (u32), or a float. */
export type StepParam = number | { readonly f32: number };

export interface StepOptions {
  readonly buffers: readonly BufferUse[];
  /** Become fields of the uniform `P`. */
  readonly params?: Readonly<Record<string, StepParam>>;
  /** Writes the params into the text: `P` is a constant then, for kernels that few sizes share anyway. Without tables only. */
  readonly isFixed?: boolean;
  /** Words that the body reads by index: `table_NAME(i)` is word i (u32). At most a few thousand. */
  readonly tables?: Readonly<Record<string, Uint32Array>>;
  /** Threads of a workgroup; default 256. */
  readonly threads?: number;
  /** How many workgroups are wanted; `group` counts them. */
  readonly groups: number;
  /** Directives (`enable f16;`) and functions at module scope. */
  readonly enable?: string;
  readonly declarations?: string;
  /** Body of `main`, with `group` (which workgroup) and `thread` (which thread of it) in scope. */
  readonly body: string;
}

/**
 * One dispatch. Binding i of the list is `@group(0) @binding(i)`, a storage buffer; the params, where there are any, are the
 * uniform buffer behind the last of them. Steps with equal code share a pipeline, so sizes belong into params.
 */
export interface WgslStep {
  /** The whole module; its entry point is `main`. */
  readonly code: string;
  readonly bindings: readonly WgslBinding[];
  /** Words of the uniform buffer. */
  readonly params?: Uint32Array;
  /** Workgroups on each axis. A step with a 0 is left out. */
  readonly grid: readonly [number, number, number];
  /** What the module was written from, for devices that join steps; none where it was not written by `wgslStep`. */
  readonly source?: StepOptions;
}

/** What a kernel function returns: dispatches in order, each of which sees what those before it wrote. */
export interface WgslKernel {
  readonly steps: readonly WgslStep[];
  /** Bytes of each scratch buffer; their content is undefined at the start. */
  readonly scratch?: readonly number[];
}
