import type { CpuFeatures, KernelArgument } from "../kernel.js";
import type { MatrixDType } from "./gemm-load.js";
import { argument } from "./kernel-step.js";

/** One axis of the batch: how many, and how many matrices of A and B one step along it skips (0 where it repeats). */
export interface BatchAxis {
  readonly extent: number;
  readonly strideA: number;
  readonly strideB: number;
}

/** A matrix product with its extents told apart: what the ways to run it start from. */
export interface GemmPlan {
  readonly features: CpuFeatures;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly aDType: MatrixDType;
  readonly bDType: MatrixDType;
  /** Exactly three axes, and the number of distinct matrices of each operand and of C. */
  readonly batch: readonly [BatchAxis, BatchAxis, BatchAxis];
  readonly matricesA: number;
  readonly matricesB: number;
  readonly matricesC: number;
  readonly maxPackedBytes: number;
  /** Where the f32 product goes: C itself, or scratch where C has another dtype. */
  readonly product: KernelArgument;
}

/** The batch as the modules take it: extents of the two inner axes, matrices to skip along each axis. */
export function batchArguments([first, second, third]: GemmPlan["batch"]) {
  const { i32 } = argument;
  return {
    extent1: i32(second.extent),
    extent2: i32(third.extent),
    a0: i32(first.strideA),
    a1: i32(second.strideA),
    a2: i32(third.strideA),
    b0: i32(first.strideB),
    b1: i32(second.strideB),
    b2: i32(third.strideB),
  };
}

/** Scratch bytes that the product itself takes, at the start: none where it is C. */
export function productBytes({ product, matricesC, rows, columns }: GemmPlan): number {
  return product.kind === "scratch" ? Math.ceil((matricesC * rows * columns) / 16) * 64 : 0;
}
