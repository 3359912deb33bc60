import type { Expression, ExpressionNode } from "../expression.js";
import type { OpSpec } from "../op.js";
import type { Reduction } from "../op-forms.js";
import { evaluateElementwise } from "../ops/elementwise.js";
import { evaluateReduction } from "../ops/reduce.js";
import type { TensorType } from "../shape.js";

export interface FusedParams {
  readonly expression: Expression;
  readonly outputs: readonly TensorType[];
}

/** A chain of elementwise ops in one pass over memory. */
export const fusedSpec: OpSpec<FusedParams> = {
  name: "fused",
  infer: (_inputs, { outputs }) => outputs,
  expression: (_inputs, { expression }) => expression,
  evaluate: (inputs, outputs, { expression }) => evaluateElementwise(expression, inputs, outputs),
};

export interface FusedReduceParams {
  readonly reduction: Reduction;
  readonly output: TensorType;
}

/** A reduction together with the elementwise ops before it and after it. */
export const fusedReduceSpec: OpSpec<FusedReduceParams> = {
  name: "fusedReduce",
  infer: (_inputs, { output }) => [output],
  reduction: (_inputs, { reduction }) => reduction,
  evaluate(inputs, [output], { reduction }) {
    if (output) evaluateReduction(reduction, inputs, output);
  },
};

/** Grows one expression out of many: joins equal inputs and constants, and tracks where each value ended up. */
export class ExpressionBuilder {
  readonly nodes: ExpressionNode[] = [];
  /** External value of each input, in order. */
  readonly inputs: number[] = [];
  /** Node that computes an external value. */
  readonly nodeOf = new Map<number, number>();

  /** Appends an op's expression applied to external values; returns the nodes of its outputs. */
  append(
    expression: Expression,
    inputs: readonly number[],
    typeOfValue: (value: number) => TensorType,
  ): number[] {
    const placed: number[] = [];
    for (const node of expression.nodes) {
      if (node.op === "input") {
        const value = inputs[node.index] ?? -1;
        placed.push(this.nodeOf.get(value) ?? this.#addInput(value, typeOfValue(value)));
      } else if (node.op === "constant") {
        this.nodes.push(node);
        placed.push(this.nodes.length - 1);
      } else {
        this.nodes.push({ ...node, args: node.args.map((arg) => placed[arg] ?? 0) });
        placed.push(this.nodes.length - 1);
      }
    }
    return expression.outputs.map((output) => placed[output] ?? 0);
  }

  #addInput(value: number, type: TensorType): number {
    this.nodes.push({ op: "input", index: this.inputs.length, dtype: type.dtype });
    this.inputs.push(value);
    this.nodeOf.set(value, this.nodes.length - 1);
    return this.nodes.length - 1;
  }

  /** Takes over all of another builder. */
  absorb(other: ExpressionBuilder): void {
    const placed: number[] = [];
    other.nodes.forEach((node, i) => {
      if (node.op === "input") {
        const value = other.inputs[node.index] ?? -1;
        placed[i] = this.nodeOf.get(value) ?? this.#addInput(value, { shape: [], dtype: node.dtype });
      } else {
        this.nodes.push("args" in node ? { ...node, args: node.args.map((arg) => placed[arg] ?? 0) } : node);
        placed[i] = this.nodes.length - 1;
      }
    });
    for (const [value, node] of other.nodeOf)
      if (!this.nodeOf.has(value)) this.nodeOf.set(value, placed[node] ?? 0);
  }

  /** The expression with the given outputs. */
  build(outputs: readonly number[]): Expression {
    return { nodes: [...this.nodes], outputs: [...outputs] };
  }
}
