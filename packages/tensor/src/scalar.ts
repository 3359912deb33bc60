import { roundTo } from "./dtype.js";
import { invariant } from "./error.js";
import type { Expression, ExpressionNode, ScalarOp } from "./expression.js";

/** Every scalar op in float64: the definition that all kernels are tested against. */
export const scalarFunctions: Readonly<Record<ScalarOp, (a: number, b: number, c: number) => number>> = {
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sign: (a) => Math.sign(a),
  floor: (a) => Math.floor(a),
  reciprocal: (a) => 1 / a,
  square: (a) => a * a,
  exp: (a) => Math.exp(a),
  log: (a) => Math.log(a),
  sqrt: (a) => Math.sqrt(a),
  rsqrt: (a) => 1 / Math.sqrt(a),
  tanh: (a) => Math.tanh(a),
  sigmoid: (a) => (a >= 0 ? 1 / (1 + Math.exp(-a)) : Math.exp(a) / (1 + Math.exp(a))),
  erf,
  sin: (a) => Math.sin(a),
  cos: (a) => Math.cos(a),
  not: (a) => (a === 0 ? 1 : 0),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  max: (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)),
  min: (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.min(a, b)),
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a !== b ? 1 : 0),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  gt: (a, b) => (a > b ? 1 : 0),
  ge: (a, b) => (a >= b ? 1 : 0),
  and: (a, b) => (a !== 0 && b !== 0 ? 1 : 0),
  or: (a, b) => (a !== 0 || b !== 0 ? 1 : 0),
  where: (a, b, c) => (a !== 0 ? b : c),
};

/**
 * The error function to float64 accuracy: below 3 the series 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, whose terms are
 * all positive; above it 1 minus the continued fraction of erfc.
 *
 * @see Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14
 */
export function erf(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude > 6) return Math.sign(x);
  const gauss = Math.exp(-magnitude * magnitude) / Math.sqrt(Math.PI);
  if (magnitude < 3) {
    let term = magnitude;
    let total = magnitude;
    for (let n = 1; term > total * 1e-17; n++) {
      term *= (2 * magnitude * magnitude) / (2 * n + 1);
      total += term;
    }
    return Math.sign(x) * 2 * gauss * total;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (magnitude + fraction);
  return Math.sign(x) * (1 - gauss / (magnitude + fraction));
}

/** Evaluates an expression at one element; `inputs[i]` is the element of input i. Each step rounds to its dtype. */
export function evaluateExpression(
  expression: Expression,
  inputs: readonly number[],
  values: number[],
): void {
  expression.nodes.forEach((node, i) => {
    values[i] = evaluateNode(node, inputs, values);
  });
}

function evaluateNode(node: ExpressionNode, inputs: readonly number[], values: readonly number[]): number {
  switch (node.op) {
    case "input":
      return inputs[node.index] ?? 0;
    case "constant":
      return roundTo(node.dtype, node.value);
    case "cast":
      return castScalar(values[node.args[0] ?? 0] ?? 0, node.dtype);
    default: {
      const [a = 0, b = 0, c = 0] = node.args;
      const fn = scalarFunctions[node.op];
      invariant(fn, `scalar op ${node.op} is not defined`);
      return roundTo(node.dtype, fn(values[a] ?? 0, values[b] ?? 0, values[c] ?? 0));
    }
  }
}

/** A cast as C does it: integers truncate towards zero, bool is "not zero", floats round to nearest. */
function castScalar(value: number, dtype: ExpressionNode["dtype"]): number {
  return roundTo(
    dtype,
    dtype === "i32" || dtype === "u32" || dtype === "i8" || dtype === "u8" ? Math.trunc(value) : value,
  );
}
