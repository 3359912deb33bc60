import { type DType, isFloat } from "../dtype.js";
import { HeddleError } from "../error.js";
import type { Expression, ExpressionNode, ScalarOp } from "../expression.js";
import { defineOp, type Op, type OpSpec } from "../op.js";
import { evaluateExpression } from "../scalar.js";
import {
  broadcastOffsets,
  broadcastShapes,
  formatType,
  type Shape,
  sizeOf,
  type TensorType,
} from "../shape.js";
import type { Tensor } from "../tensor.js";
import { sumTo } from "./sum-to.js";

export type TensorOrNumber = Tensor | number;

/** Where each argument of the scalar op comes from: null = the next tensor, a number = that constant. */
export interface ElementwiseParams {
  readonly args: readonly (number | null)[];
}

type Grad = (
  args: readonly TensorOrNumber[],
  grad: Tensor,
  output: Tensor,
  index: number,
) => Tensor | undefined;

/** One elementwise op: which scalar op it applies, what it returns, and the gradient with respect to argument `index`. */
interface ElementwiseRule {
  readonly scalar: ScalarOp;
  /** Logical and comparison ops return bool. */
  readonly result?: "bool";
  /** Dtypes that the arguments may have. Default: any but bool. */
  readonly accepts?: "float" | "bool" | "any";
  readonly grad?: Grad;
}

function argumentTypes(name: string, inputs: readonly TensorType[], rule: ElementwiseRule): DType {
  const values = rule.scalar === "where" ? inputs.slice(1) : inputs;
  const dtype = values[0]?.dtype ?? inputs[0]?.dtype ?? "f32";
  if (values.some((input) => input.dtype !== dtype)) {
    throw new HeddleError(
      "dtype",
      `${name}: both arguments must have one dtype; got ${inputs.map(formatType).join(" and ")}. Convert one with \`.cast("${dtype}")\`.`,
      { dtypes: inputs.map((input) => input.dtype) },
    );
  }
  const accepted =
    rule.accepts === "any" ||
    (rule.accepts === "float" ? isFloat(dtype) : (rule.accepts === "bool") === (dtype === "bool"));
  if (!accepted) {
    throw new HeddleError(
      "dtype",
      `${name}: arguments must be ${rule.accepts === "float" ? "floats" : rule.accepts === "bool" ? "bool" : "numbers"}; got ${inputs.map(formatType).join(" and ")}. Convert them with \`.cast(...)\`.`,
      { dtypes: inputs.map((input) => input.dtype) },
    );
  }
  return dtype;
}

function expressionOf(
  rule: ElementwiseRule,
  inputs: readonly TensorType[],
  args: readonly (number | null)[],
): Expression {
  const values = rule.scalar === "where" ? inputs.slice(1) : inputs;
  const dtype = values[0]?.dtype ?? "f32";
  const nodes: ExpressionNode[] = [];
  const position = args.map((arg) => {
    if (arg !== null) nodes.push({ op: "constant", value: arg, dtype });
    else {
      const index = nodes.filter((node) => node.op === "input").length;
      nodes.push({ op: "input", index, dtype: inputs[index]?.dtype ?? dtype });
    }
    return nodes.length - 1;
  });
  nodes.push({ op: rule.scalar, args: position, dtype: rule.result ?? dtype });
  return { nodes, outputs: [nodes.length - 1] };
}

function defineElementwise(name: string, rule: ElementwiseRule): Op<ElementwiseParams> {
  const { grad } = rule;
  const spec: OpSpec<ElementwiseParams> = {
    name,
    infer(inputs) {
      const dtype = argumentTypes(name, inputs, rule);
      return [
        {
          shape: broadcastShapes(
            name,
            inputs.map((input) => input.shape),
          ),
          dtype: rule.result ?? dtype,
        },
      ];
    },
    expression: (inputs, { args }) => expressionOf(rule, inputs, args),
    evaluate(inputs, outputs, { args }) {
      evaluateElementwise(expressionOf(rule, inputs, args), inputs, outputs);
    },
    ...(grad && {
      vjp({ inputs, outputs, grads, params, needed }) {
        const [output] = outputs;
        const [g] = grads;
        if (output === undefined || g === undefined) return [];
        let next = 0;
        const args = params.args.map((arg) => arg ?? (inputs[next++] as Tensor));
        const tensorArgs = params.args.flatMap((arg, i) => (arg === null ? [i] : []));
        return inputs.map((input, i) => {
          const full = needed[i] ? grad(args, g, output, tensorArgs[i] ?? 0) : undefined;
          return full && sumTo(full, input.shape);
        });
      },
    }),
  };
  return defineOp(spec);
}

/** Runs an expression over broadcast arrays, element by element: the readable twin of every elementwise kernel. */
export function evaluateElementwise(
  expression: Expression,
  inputs: readonly { shape: Shape; data: ArrayLike<number> }[],
  outputs: readonly { shape: Shape; data: { [index: number]: number } }[],
): void {
  const shape = outputs[0]?.shape ?? [];
  const offsets = inputs.map((input) => broadcastOffsets(input.shape, shape));
  const values: number[] = [];
  const elements: number[] = [];
  for (let flat = 0; flat < sizeOf(shape); flat++) {
    for (let i = 0; i < inputs.length; i++) elements[i] = inputs[i]?.data[offsets[i]?.[flat] ?? 0] ?? 0;
    evaluateExpression(expression, elements, values);
    for (let i = 0; i < outputs.length; i++) {
      const output = outputs[i];
      if (output) output.data[flat] = values[expression.outputs[i] ?? 0] ?? 0;
    }
  }
}

const twoOverSqrtPi = 2 / Math.sqrt(Math.PI);

const unary = (scalar: ScalarOp, grad?: (x: Tensor, g: Tensor, y: Tensor) => Tensor, accepts?: "float") =>
  defineElementwise(scalar, {
    scalar,
    ...(accepts && { accepts }),
    ...(grad && { grad: (args, g, y) => grad(args[0] as Tensor, g, y) }),
  });

const times = (g: Tensor, factor: TensorOrNumber) => g.mul(factor);

export const elementwiseOps = {
  neg: unary("neg", (_x, g) => g.neg()),
  abs: unary("abs", (x, g) => g.mul(x.sign())),
  sign: unary("sign"),
  floor: unary("floor"),
  reciprocal: unary("reciprocal", (_x, g, y) => g.mul(y.square()).neg(), "float"),
  square: unary("square", (x, g) => g.mul(x).mul(2)),
  exp: unary("exp", (_x, g, y) => g.mul(y), "float"),
  log: unary("log", (x, g) => g.div(x), "float"),
  sqrt: unary("sqrt", (_x, g, y) => g.div(y).mul(0.5), "float"),
  rsqrt: unary("rsqrt", (x, g, y) => g.mul(y).div(x).mul(-0.5), "float"),
  tanh: unary("tanh", (_x, g, y) => g.mul(y.square().neg().add(1)), "float"),
  sigmoid: unary("sigmoid", (_x, g, y) => g.mul(y).mul(y.neg().add(1)), "float"),
  erf: unary("erf", (x, g) => g.mul(x.square().neg().exp()).mul(twoOverSqrtPi), "float"),
  sin: unary("sin", (x, g) => g.mul(x.cos()), "float"),
  cos: unary("cos", (x, g) => g.mul(x.sin()).neg(), "float"),
  logicalNot: defineElementwise("logicalNot", { scalar: "not", accepts: "bool" }),
  add: defineElementwise("add", { scalar: "add", grad: (_args, g) => g }),
  sub: defineElementwise("sub", { scalar: "sub", grad: (_args, g, _y, i) => (i === 0 ? g : g.neg()) }),
  mul: defineElementwise("mul", { scalar: "mul", grad: (args, g, _y, i) => times(g, args[1 - i] ?? 0) }),
  div: defineElementwise("div", {
    scalar: "div",
    grad: ([, b = 1], g, y, i) => (i === 0 ? g.div(b) : g.mul(y).div(b).neg()),
  }),
  pow: defineElementwise("pow", { scalar: "pow", grad: powGrad }),
  maximum: defineElementwise("maximum", { scalar: "max", grad: extremumGrad }),
  minimum: defineElementwise("minimum", { scalar: "min", grad: extremumGrad }),
  equal: defineElementwise("equal", { scalar: "eq", result: "bool", accepts: "any" }),
  notEqual: defineElementwise("notEqual", { scalar: "ne", result: "bool", accepts: "any" }),
  less: defineElementwise("less", { scalar: "lt", result: "bool" }),
  lessEqual: defineElementwise("lessEqual", { scalar: "le", result: "bool" }),
  greater: defineElementwise("greater", { scalar: "gt", result: "bool" }),
  greaterEqual: defineElementwise("greaterEqual", { scalar: "ge", result: "bool" }),
  logicalAnd: defineElementwise("logicalAnd", { scalar: "and", accepts: "bool" }),
  logicalOr: defineElementwise("logicalOr", { scalar: "or", accepts: "bool" }),
  where: defineElementwise("where", {
    scalar: "where",
    accepts: "any",
    grad: ([condition], g, _y, i) =>
      i === 0 ? undefined : whereOp(condition as Tensor, i === 1 ? g : 0, i === 1 ? 0 : g),
  }),
} as const;

function powGrad(
  [base = 0, exponent = 0]: readonly TensorOrNumber[],
  g: Tensor,
  y: Tensor,
  index: number,
): Tensor {
  if (index === 0) {
    const x = base as Tensor;
    if (typeof exponent === "number") return g.mul(x.pow(exponent - 1)).mul(exponent);
    return g.mul(exponent).mul(x.pow(exponent.sub(1)));
  }
  // d/de b^e = b^e log b, taken as 0 where b = 0 (as torch does), so that 0^e with e > 0 has a finite gradient.
  if (typeof base === "number") return g.mul(y).mul(base === 0 ? 0 : Math.log(base));
  const isZero = elementwiseOps.equal.call([base], { args: [null, 0] });
  return g.mul(y).mul(whereOp(isZero, 1, base).log());
}

/** The gradient goes to the larger (or smaller) argument, half to each where they are equal. */
function extremumGrad(args: readonly TensorOrNumber[], g: Tensor, y: Tensor, index: number): Tensor {
  const [mine, other] = [args[index] as Tensor, args[1 - index] ?? 0];
  const isMine = elementwiseOps.equal.call([mine, y], { args: [null, null] });
  const isTie = elementwise("equal", mine, other);
  return whereOp(isMine, whereOp(isTie, g.mul(0.5), g), 0);
}

/** Applies a two-argument op to tensors or numbers, at least one of them a tensor. */
export function elementwise(
  name: Exclude<keyof typeof elementwiseOps, "where">,
  ...args: readonly TensorOrNumber[]
): Tensor {
  const tensors = args.filter((arg): arg is Tensor => typeof arg !== "number");
  if (tensors.length === 0) {
    throw new HeddleError(
      "dtype",
      `${name}: at least one argument must be a tensor; got ${args.join(" and ")}. Compute with plain numbers instead.`,
      { args },
    );
  }
  return elementwiseOps[name].call(tensors, {
    args: args.map((arg) => (typeof arg === "number" ? arg : null)),
  });
}

/** Picks from `a` where the condition holds, else from `b`. */
export function whereOp(condition: Tensor, a: TensorOrNumber, b: TensorOrNumber): Tensor {
  if (condition.dtype !== "bool") {
    throw new HeddleError(
      "dtype",
      `where: the condition must be bool; got ${formatType(condition)}. Compare first, as in \`x.greater(0)\`.`,
      { dtype: condition.dtype },
    );
  }
  const args = [a, b].map((arg) => (typeof arg === "number" ? arg : null));
  const tensors = [a, b].filter((arg): arg is Tensor => typeof arg !== "number");
  if (tensors.length === 0) {
    throw new HeddleError(
      "dtype",
      `where: at least one of the two values must be a tensor; got ${a} and ${b}. Make one with \`full(device, [], ${a})\`.`,
      { a, b },
    );
  }
  return elementwiseOps.where.call([condition, ...tensors], { args: [null, ...args] });
}

const castExpression = (from: DType, dtype: DType): Expression => ({
  nodes: [
    { op: "input", index: 0, dtype: from },
    { op: "cast", args: [0], dtype },
  ],
  outputs: [1],
});

/** Converts to another dtype. */
export const castOp: Op<{ readonly dtype: DType }> = defineOp({
  name: "cast",
  infer: ([x], { dtype }) => [{ shape: x?.shape ?? [], dtype }],
  expression: ([x], { dtype }) => castExpression(x?.dtype ?? "f32", dtype),
  evaluate(inputs, outputs, { dtype }) {
    evaluateElementwise(castExpression(inputs[0]?.dtype ?? "f32", dtype), inputs, outputs);
  },
  vjp: ({ inputs: [x], grads: [g] }) => [
    x && g && isFloat(x.dtype) ? castOp.call([g], { dtype: x.dtype }) : undefined,
  ],
});
