import type { DType } from "./dtype.js";

export type UnaryScalarOp =
  | "neg"
  | "abs"
  | "sign"
  | "floor"
  | "reciprocal"
  | "square"
  | "exp"
  | "log"
  | "sqrt"
  | "rsqrt"
  | "tanh"
  | "sigmoid"
  | "erf"
  | "sin"
  | "cos"
  | "not";
export type BinaryScalarOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "pow"
  | "max"
  | "min"
  | "eq"
  | "ne"
  | "lt"
  | "le"
  | "gt"
  | "ge"
  | "and"
  | "or";
export type ScalarOp = UnaryScalarOp | BinaryScalarOp | "where";

/** One step of an elementwise program. `args` are indices of earlier steps; `dtype` is that of the step's value. */
export type ExpressionNode =
  | { readonly op: "input"; readonly index: number; readonly dtype: DType }
  | { readonly op: "constant"; readonly value: number; readonly dtype: DType }
  | { readonly op: "cast"; readonly args: readonly number[]; readonly dtype: DType }
  | { readonly op: ScalarOp; readonly args: readonly number[]; readonly dtype: DType };

/**
 * An elementwise program over broadcast inputs, in an order in which every argument comes before its use.
 * Every elementwise op is one; the compiler joins chains of them into longer ones.
 * `outputs[i]` is the node stored to output i; all outputs have the same shape.
 */
export interface Expression {
  readonly nodes: readonly ExpressionNode[];
  readonly outputs: readonly number[];
}
