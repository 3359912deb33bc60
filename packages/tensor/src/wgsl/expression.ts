import { type DType, roundTo } from "../dtype.js";
import type { Expression, ExpressionNode, ScalarOp } from "../expression.js";
import { valueType } from "./dtype.js";
import type { StepParam } from "./step.js";

type Family = "f32" | "i32" | "u32" | "bool";

const comparisons: Partial<Record<ScalarOp, string>> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** Ops that need whole functions of f32; integers go through f32 and back. */
const realFunctions: Partial<Record<ScalarOp, string>> = {
  exp: "exp",
  log: "log",
  sqrt: "sqrt",
  rsqrt: "inverseSqrt",
  tanh: "h_tanh",
  sigmoid: "h_sigmoid",
  erf: "h_erf",
  sin: "h_sin",
  cos: "h_cos",
};

/** A node of an expression as one WGSL expression over the names of its arguments. */
function nodeCode(op: ScalarOp, args: readonly string[], family: Family): string {
  const [a = "", b = "", c = ""] = args;
  const compared = comparisons[op];
  if (compared !== undefined) return `(${a} ${compared} ${b})`;
  const real = realFunctions[op];
  if (real !== undefined)
    return family === "f32" ? `${real}(${a})` : castCode(`${real}(f32(${a}))`, "f32", family);
  switch (op) {
    case "where":
      return `select(${c}, ${b}, ${a})`;
    case "not":
      return `!${a}`;
    case "and":
      return `(${a} && ${b})`;
    case "or":
      return `(${a} || ${b})`;
    case "add":
      return `(${a} + ${b})`;
    case "sub":
      return `(${a} - ${b})`;
    case "mul":
      return `(${a} * ${b})`;
    case "square":
      return `(${a} * ${a})`;
    case "div":
      return family === "f32"
        ? `(${a} / ${b})`
        : family === "i32"
          ? `h_divI32(${a}, ${b})`
          : `h_divU32(${a}, ${b})`;
    case "reciprocal":
      return family === "f32" ? `(1.0 / ${a})` : nodeCode("div", [`${family}(1)`, a], family);
    case "neg":
      return family === "u32" ? `(0u - ${a})` : `(-${a})`;
    case "abs":
      return family === "u32" ? a : `abs(${a})`;
    case "sign":
      return family === "u32" ? `min(${a}, 1u)` : family === "f32" ? `h_sign(${a})` : `sign(${a})`;
    case "floor":
      return family === "f32" ? `floor(${a})` : a;
    case "max":
    case "min":
      return family === "f32" ? `h_${op}(${a}, ${b})` : `${op}(${a}, ${b})`;
    case "pow":
      return family === "f32"
        ? `h_pow(${a}, ${b})`
        : family === "i32"
          ? `h_powI32(${a}, ${b})`
          : `h_powU32(${a}, ${b})`;
    default:
      return a;
  }
}

function castCode(value: string, from: Family, to: Family): string {
  if (from === to) return value;
  if (to === "bool") return `(${value} != ${from}(0))`;
  if (from === "f32" && to !== "f32") return to === "i32" ? `h_toI32(${value})` : `h_toU32(${value})`;
  return `${to}(${value})`;
}

/** Brings a 32-bit result to the numbers of its dtype: small integers wrap around, half floats round. */
function narrowCode(value: string, dtype: DType): string {
  switch (dtype) {
    case "i8":
      return `h_i8(${value})`;
    case "u8":
      return `(${value} & 0xffu)`;
    case "f16":
      return `h_fromF16(h_toF16(${value}))`;
    case "bf16":
      return `h_fromBf16(h_toBf16(${value}))`;
    default:
      return value;
  }
}

export interface ExpressionCode {
  /** Statements that compute every node as `PREFIX0`, `PREFIX1`, ... */
  readonly code: string;
  /** The names that hold the outputs. */
  readonly outputs: readonly string[];
  /** Constants, which travel as uniforms so that kernels that differ in them only share a pipeline. */
  readonly params: Readonly<Record<string, StepParam>>;
}

/**
 * Writes an expression as WGSL statements; its twin is `evaluateExpression`.
 *
 * @param inputs  a WGSL expression for each input's element, of the type of its dtype
 * @param prefix  begins the names of the nodes and of the uniforms; distinct for two expressions in one kernel
 */
export function expressionCode(
  expression: Expression,
  inputs: readonly string[],
  prefix: string,
): ExpressionCode {
  const needed = neededNodes(expression);
  const params: Record<string, StepParam> = {};
  const lines: string[] = [];
  const name = (i: number) => `${prefix}${i}`;
  expression.nodes.forEach((node, i) => {
    if (!needed.has(i)) return;
    lines.push(`  let ${name(i)} = ${valueCode(node, i)};`);
  });
  return { code: lines.join("\n"), outputs: expression.outputs.map(name), params };

  function valueCode(node: ExpressionNode, i: number): string {
    if (node.op === "input") return inputs[node.index] ?? "";
    if (node.op === "constant") return constantCode(node, `${prefix}c${i}`);
    const args = node.args.map(name);
    const first = expression.nodes[node.args[0] ?? 0];
    const from = valueType(first?.dtype ?? node.dtype);
    const to = valueType(node.dtype);
    const value =
      node.op === "cast" ? castCode(args[0] ?? "", from, to) : nodeCode(node.op, args, argumentFamily(node));
    return node.op === "where" ? value : narrowCode(value, node.dtype);
  }

  /** Comparisons work on their arguments' type, all else on the result's. */
  function argumentFamily({ dtype }: ExpressionNode): Family {
    return valueType(dtype);
  }

  function constantCode(node: ExpressionNode & { op: "constant" }, param: string): string {
    const type = valueType(node.dtype);
    const value = roundTo(node.dtype, node.value);
    params[param] = type === "f32" ? { f32: value } : value;
    if (type === "bool") return `(P.${param} != 0u)`;
    return type === "i32" ? `bitcast<i32>(P.${param})` : `P.${param}`;
  }
}

/** The nodes that the outputs depend on. */
function neededNodes({ nodes, outputs }: Expression): Set<number> {
  const needed = new Set(outputs);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    if (node && needed.has(i) && "args" in node) for (const arg of node.args) needed.add(arg);
  }
  return needed;
}

/** The inputs that an expression reads. */
export function neededInputs(expression: Expression): Set<number> {
  const needed = neededNodes(expression);
  return new Set(
    expression.nodes.flatMap((node, i) => (node.op === "input" && needed.has(i) ? [node.index] : [])),
  );
}
