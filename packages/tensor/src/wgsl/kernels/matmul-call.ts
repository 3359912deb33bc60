import type { DType } from "../../dtype.js";

/** One batched matrix product c = op(a) op(b), f32 arithmetic over any float storage. */
export interface MatmulCall {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly batch: readonly number[];
  readonly batchStridesA: readonly number[];
  readonly batchStridesB: readonly number[];
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly dtypes: { readonly a: DType; readonly b: DType; readonly c: DType };
}
