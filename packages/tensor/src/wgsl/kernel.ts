import type { MatrixUnit } from "./matrix-unit.js";
import type { StepOptions } from "./step.js";

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
