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

/** Extents of the two inner axes, then the strides of A and of B, as the modules take them. */
export function batchArguments({ batch }: GemmPlan): {
  readonly extents: KernelArgument[];
  readonly strides: KernelArgument[];
} {
  const numbers = (values: readonly number[]) => values.map(argument.i32);
  return {
    extents: numbers([batch[1].extent, batch[2].extent]),
    strides: numbers([...batch.map((axis) => axis.strideA), ...batch.map((axis) => axis.strideB)]),
  };
}

/** Scratch bytes that the product itself takes, at the start: none where it is C. */
export function productBytes({ product, matricesC, rows, columns }: GemmPlan): number {
  return product.kind === "scratch" ? Math.ceil((matricesC * rows * columns) / 16) * 64 : 0;
}
