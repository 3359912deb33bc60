/** An argument of a WebAssembly kernel function, resolved to a number just before the call. */
export type KernelArgument =
  /** Byte address of the launch's buffer `index` (inputs first, then outputs). */
  | { readonly kind: "buffer"; readonly index: number }
  /** Byte address inside the kernel's scratch memory. */
  | { readonly kind: "scratch"; readonly byteOffset: number }
  | { readonly kind: "i32"; readonly value: number }
  | { readonly kind: "f32"; readonly value: number };

/** A WebAssembly module by content: equal keys mean equal bytes. It is one of `assemble`: imports `env.memory`, exports `run` and `runFrom`. */
export interface KernelModule {
  readonly key: string;
  /** Emits the module; called once per key. */
  emit(): Uint8Array;
}

/**
 * One parallel loop: `run(...args, begin, end)` does units begin..end-1 and may be called by several threads at once with
 * disjoint ranges. A barrier follows each step.
 */
export interface KernelStep {
  readonly module: KernelModule;
  readonly args: readonly KernelArgument[];
  readonly units: number;
  /** Fewest units worth a thread of their own: small launches stay on one thread. */
  readonly grain: number;
  /** Whether units follow each other in memory that no cache holds, so that a thread does best to go on where it is. Default false. */
  readonly isStream?: boolean | undefined;
}

/** What the machine offers to kernel emitters. */
export interface CpuFeatures {
  /** `relaxed_madd` and the int8 dot product are available. */
  readonly relaxedSimd: boolean;
  /** The engine joins pairs of 128-bit operations into 256-bit ones. */
  readonly revectorized: boolean;
  /** `relaxed_dot_i8x16_i7x16_add` is one instruction (VNNI, sdot), not three. */
  readonly int8Dot: boolean;
  /** The memory is shared between threads (atomics allowed). */
  readonly sharedMemory: boolean;
  readonly threads: number;
}

/** What a kernel function returns: parallel loops in order. */
export interface LoweredKernel {
  readonly steps: readonly KernelStep[];
  /** Scratch memory that the steps share; default 0. */
  readonly scratchBytes?: number;
}
