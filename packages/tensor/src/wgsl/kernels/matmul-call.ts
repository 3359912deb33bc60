import type { DType } from "../../dtype.js";

/** Which operands of a matrix product are read transposed. */
export interface MatmulParams {
  /** Read `a` as [.., K, M] instead of [.., M, K]. */
  readonly transposeA: boolean;
  /** Read `b` as [.., N, K] instead of [.., K, N]. */
  readonly transposeB: boolean;
}

/** Extents of one matrix product, with the batch axes that both operands broadcast to. */
export interface MatmulExtents {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly batch: readonly number[];
  /** Distance in elements between the matrices of an operand along each batch axis; 0 where it repeats. */
  readonly batchStridesA: readonly number[];
  readonly batchStridesB: readonly number[];
}

/** One batched matrix product c = op(a) op(b), f32 arithmetic over any float storage. */
export interface MatmulCall extends MatmulExtents, MatmulParams {
  readonly dtypes: { readonly a: DType; readonly b: DType; readonly c: DType };
}
