import type { Expression } from "./expression.js";
import type { TensorType } from "./shape.js";

// What an op can say of itself besides an expression: data that every device can turn into a kernel.

/** Part of a data-moving op: copies a strided box of input `input` to a strided box of the output. In elements. */
export interface CopyRegion {
  readonly input: number;
  readonly shape: readonly number[];
  readonly inputOffset: number;
  readonly inputStrides: readonly number[];
  readonly outputOffset: number;
  readonly outputStrides: readonly number[];
}

/** A data-moving op as data: the output is filled with `fill` where given, then the regions are copied. */
export interface Copies {
  readonly regions: readonly CopyRegion[];
  readonly fill?: number;
}

export type Combine = "sum" | "max" | "min" | "prod";

/** A reduction as data: `combine` over `axes` of the prologue's values, then the epilogue on each result. */
export interface Reduction {
  readonly prologue: Expression;
  readonly combine: Combine;
  /** Axes of the broadcast input shape, ascending. */
  readonly axes: readonly number[];
  /** Over input 0 = the reduced value. */
  readonly epilogue?: Expression;
}

/**
 * Elementwise ops behind an op that run inside its kernel: a bias, an activation, a gate, a residual. An expression of one
 * output over the results of one or more calls of the op, inputs 0.., and then over `inputs`.
 */
export interface Epilogue {
  readonly expression: Expression;
  /** Each has the result's extents, or its last extent alone and is the same for all rows. */
  readonly inputs: readonly TensorType[];
}

/** A call that an epilogue stands behind. Inputs with the same number are one tensor. */
export interface EpilogueCall {
  readonly params: unknown;
  readonly inputs: readonly { readonly type: TensorType; readonly memory: number }[];
}
