import { roundTo } from "../../dtype.js";
import { invariant } from "../../error.js";
import type { BinaryScalarOp, Expression, ExpressionNode, UnaryScalarOp } from "../../expression.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../../wasm/simd.js";
import type { LaneMath } from "../../wasm/simd-math.js";
import type { Local } from "../../wasm/value.js";
import type { KernelArgument } from "../kernel.js";
import { argument } from "./kernel-step.js";
import { castLanes, isFloatLane, type LaneDType, type Lanes, roundLanes, wrapLanes } from "./lanes.js";

const integerOps = new Set<string>([
  "neg",
  "abs",
  "sign",
  "floor",
  "square",
  "not",
  "add",
  "sub",
  "mul",
  "div",
  "max",
  "min",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
  "and",
  "or",
  "where",
  "cast",
  "input",
  "constant",
]);

/** Tells whether every step has a vector form: no f64, and no transcendental function of integers. */
export function canEvaluateLanes(expression: Expression): boolean {
  return expression.nodes.every((node) => {
    if (node.dtype === "f64") return false;
    return isFloatLane(node.dtype) || integerOps.has(node.op);
  });
}

/** The structure of an expression as text: constants are left out (they are arguments), short exponents of `pow` are kept. */
export function expressionKey(expression: Expression): string {
  const exponents = constantExponents(expression);
  const text = expression.nodes.map((node, i) => {
    if (node.op === "input") return `$${node.index}:${node.dtype}`;
    if (node.op === "constant") return `#${exponents.get(i) ?? ""}:${node.dtype}`;
    return `${node.op}(${node.args.join(",")}):${node.dtype}`;
  });
  return `${text.join(";")}>${expression.outputs.join(",")}`;
}

/** One argument per constant, in the order of the nodes; `expressionLanes` takes them splat in the same order. */
export function constantArguments(expression: Expression): KernelArgument[] {
  return expression.nodes.flatMap((node) => {
    if (node.op !== "constant") return [];
    const value = roundTo(node.dtype, node.value);
    if (node.dtype === "bool") return [argument.i32(-value)];
    return [isFloatLane(laneDType(node)) ? argument.f32(value) : argument.i32(value | 0)];
  });
}

/** Repeats each constant argument in every lane; hoist it out of the loop. */
export function splatConstants(f: FunctionBuilder, parameters: readonly Local[]): Local<"v128">[] {
  return parameters.map((parameter) =>
    f.let(
      parameter.type === "f32"
        ? f32x4.splat(parameter as Local<"f32">)
        : i32x4.splat(parameter as Local<"i32">),
    ),
  );
}

/**
 * Emits the program for one vector of lanes and returns the lanes of each output.
 *
 * f16 and bf16 steps compute in f32 and round after each step, so that a fused chain gives the numbers of its single steps.
 */
export function expressionLanes(
  f: FunctionBuilder,
  math: LaneMath,
  expression: Expression,
  operands: { readonly inputs: readonly Local<"v128">[]; readonly constants: readonly Local<"v128">[] },
): Local<"v128">[] {
  const exponents = constantExponents(expression);
  const values: Local<"v128">[] = [];
  const constants = operands.constants[Symbol.iterator]();
  const lanesOf = (index: number) => defined(values[index]);
  const dtypeOf = (index: number) => laneDType(defined(expression.nodes[index]));
  const compute = (node: ExpressionNode): Lanes => {
    if (node.op === "input") return defined(operands.inputs[node.index]);
    if (node.op === "constant") return defined(constants.next().value);
    const [first = 0, second = 0, third = 0] = node.args;
    const dtype = laneDType(node);
    if (node.op === "cast") return castLanes(f, lanesOf(first), { from: dtypeOf(first), to: dtype });
    if (node.op === "where") {
      const condition = castLanes(f, lanesOf(first), { from: dtypeOf(first), to: "bool" });
      return v128.bitselect(lanesOf(second), lanesOf(third), condition);
    }
    const asBool = (index: number) => castLanes(f, lanesOf(index), { from: dtypeOf(index), to: "bool" });
    if (node.op === "not") return v128.not(asBool(first));
    if (node.op === "and" || node.op === "or") return v128[node.op](asBool(first), asBool(second));
    if (node.args.length === 1) return unary(math, node.op as UnaryScalarOp, lanesOf(first), dtype);
    const exponent = node.op === "pow" ? exponents.get(second) : undefined;
    const special = exponent === undefined ? undefined : powerByConstant(f, lanesOf(first), exponent);
    if (special) return special;
    return binary(f, math, node.op as BinaryScalarOp, {
      a: lanesOf(first),
      b: lanesOf(second),
      dtype: dtypeOf(first),
    });
  };
  for (const node of expression.nodes) {
    const dtype = laneDType(node);
    const isExact =
      node.op === "input" || node.op === "constant" || node.op === "cast" || node.op === "where";
    const value = f.let(compute(node));
    values.push(
      isExact ? value : isFloatLane(dtype) ? roundLanes(f, dtype, value) : wrapLanes(f, dtype, value),
    );
  }
  return expression.outputs.map(lanesOf);
}

function unary(math: LaneMath, op: UnaryScalarOp, x: Local<"v128">, dtype: LaneDType): Lanes {
  if (!isFloatLane(dtype)) return integerUnary(op, x, dtype);
  switch (op) {
    case "neg":
    case "abs":
    case "floor":
    case "sqrt":
      return f32x4[op](x);
    case "sign": {
      const isSigned = v128.or(f32x4.lt(x, 0), f32x4.gt(x, 0));
      return v128.bitselect(v128.bitselect(x, f32x4.splat(1), 0x80000000), x, isSigned);
    }
    case "reciprocal":
      return f32x4.div(1, x);
    case "square":
      return f32x4.mul(x, x);
    case "exp":
    case "log":
    case "rsqrt":
    case "tanh":
    case "sigmoid":
    case "erf":
    case "sin":
    case "cos":
      return math[op](x);
    case "not":
      return f32x4.eq(x, 0);
    default:
      return op satisfies never;
  }
}

function integerUnary(op: UnaryScalarOp, x: Local<"v128">, dtype: LaneDType): Lanes {
  const isUnsigned = dtype === "u32" || dtype === "u8";
  if (op === "neg") return i32x4.neg(x);
  if (op === "abs") return isUnsigned ? x : i32x4.abs(x);
  if (op === "square") return i32x4.mul(x, x);
  if (op === "sign") {
    if (isUnsigned) return v128.and(i32x4.ne(x, 0), 1);
    return v128.or(i32x4.shrS(x, 31), v128.and(i32x4.gtS(x, 0), 1));
  }
  invariant(op === "floor", `no integer form of ${op}`);
  return x;
}

interface Operands {
  readonly a: Local<"v128">;
  readonly b: Local<"v128">;
  readonly dtype: LaneDType;
}

function binary(f: FunctionBuilder, math: LaneMath, op: BinaryScalarOp, operands: Operands): Lanes {
  const { a, b, dtype } = operands;
  if (!isFloatLane(dtype)) return integerBinary(f, op, operands);
  if (op === "pow") return math.pow(a, b);
  invariant(op !== "and" && op !== "or", "logic is handled before");
  return f32x4[op](a, b);
}

function integerBinary(f: FunctionBuilder, op: BinaryScalarOp, { a, b, dtype }: Operands): Lanes {
  const isSigned = dtype === "i32" || dtype === "i8";
  switch (op) {
    case "add":
    case "sub":
    case "mul":
    case "eq":
    case "ne":
      return i32x4[op](a, b);
    case "max":
    case "min":
    case "lt":
    case "le":
    case "gt":
    case "ge":
      return i32x4[`${op}${isSigned ? "S" : "U"}`](a, b);
    case "div":
      return integerQuotient(f, a, b, isSigned);
    case "and":
    case "or":
    case "pow":
      invariant(false, `no integer form of ${op}`);
      return a;
    default:
      return op satisfies never;
  }
}

/** Truncated quotient through float64, which holds every 32-bit quotient exactly enough; x / 0 = 0. */
function integerQuotient(f: FunctionBuilder, a: Local<"v128">, b: Local<"v128">, isSigned: boolean): Lanes {
  const widen = isSigned ? f64x2.convertLowI32x4S : f64x2.convertLowI32x4U;
  const truncate = isSigned ? i32x4.truncSatF64x2SZero : i32x4.truncSatF64x2UZero;
  const upper = (v: Lanes) => i32x4.shuffle(v, v, [2, 3, 2, 3]);
  const low = truncate(f64x2.div(widen(a), widen(b)));
  const high = truncate(f64x2.div(widen(upper(a)), widen(upper(b))));
  const quotient = f.let(i64x2.shuffle(low, high, [0, 2]));
  // -2^31 / -1 saturates to 2^31 - 1, but wraps in C and in JavaScript.
  const wrapped = isSigned ? v128.bitselect(i32x4.neg(a), quotient, i32x4.eq(b, -1)) : quotient;
  return v128.andnot(wrapped, i32x4.eq(b, 0));
}

/** Exponents for which multiplications do; they are part of a kernel's structure. */
const shortExponents = new Set([1, 2, 3, 4, -1]);

function powerByConstant(f: FunctionBuilder, x: Local<"v128">, exponent: number): Lanes | undefined {
  const square = () => f32x4.mul(x, x);
  if (exponent === 1) return x;
  if (exponent === 2) return square();
  if (exponent === 3) return f32x4.mul(square(), x);
  if (exponent === 4) {
    const squared = f.let(square());
    return f32x4.mul(squared, squared);
  }
  if (exponent === -1) return f32x4.div(1, x);
  return undefined;
}

/** Constant nodes that are a short exponent of some `pow`, with their values. */
function constantExponents(expression: Expression): Map<number, number> {
  const exponents = new Map<number, number>();
  for (const node of expression.nodes) {
    if (node.op !== "pow") continue;
    const index = node.args[1] ?? -1;
    const exponent = expression.nodes[index];
    if (exponent?.op === "constant" && shortExponents.has(exponent.value))
      exponents.set(index, exponent.value);
  }
  return exponents;
}

function laneDType(node: ExpressionNode): LaneDType {
  invariant(node.dtype !== "f64", "f64 has no lanes");
  return node.dtype;
}

function defined<T>(value: T | undefined): T {
  invariant(value !== undefined, "an expression refers to a missing node");
  return value;
}
