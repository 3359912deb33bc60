import { invariant } from "../error.js";
import type { OpSpec } from "../op.js";
import { writeIntoOp } from "../ops/indexing.js";
import { broadcastShapes, type Shape, sameShape, type TensorType } from "../shape.js";
import { fuseEpilogue } from "./fuse-epilogue.js";
import { ExpressionBuilder, fusedReduceSpec, fusedSpec } from "./fused-ops.js";
import type { Graph, GraphNode } from "./graph.js";
import type { Step } from "./step.js";

const maxNodes = 96;

/** Inputs of a fused kernel: at most 12, fewer where the device binds few buffers at once (two are left for results). */
const maxInputsOf = (graph: Graph): number => Math.min(12, (graph.device.limits.maxLaunchBuffers ?? 14) - 2);

/**
 * A set of elementwise ops of one shape that will run as one kernel, as late as possible.
 * Open groups never depend on each other: whoever reads a group's result under another shape closes it first.
 */
interface Group {
  readonly shape: Shape;
  readonly builder: ExpressionBuilder;
  /** Values that the members computed. */
  readonly computed: Set<number>;
  /** Value -> memory of an argument that it replaces (an absorbed `writeInto`). */
  readonly writeBack: Map<number, number>;
  ops: number;
}

/**
 * Turns recorded ops into launches: joins elementwise chains into one kernel, pulls them into the reductions that consume
 * them, and lets a fused kernel write straight into the tensor that `writeInto` names.
 */
export function fuse(graph: Graph, nodes: readonly GraphNode[], results: readonly number[]): Step[] {
  const fuser = new Fuser(graph, nodes, results);
  for (const node of nodes) fuser.add(node);
  return fuser.finish();
}

class Fuser {
  readonly #graph: Graph;
  readonly #maxInputs: number;
  readonly #steps: Step[] = [];
  readonly #open = new Set<Group>();
  /** Reads still to come of each memory; results count as one that never comes. */
  readonly #reads = new Map<number, number>();

  constructor(graph: Graph, nodes: readonly GraphNode[], results: readonly number[]) {
    this.#graph = graph;
    this.#maxInputs = maxInputsOf(graph);
    for (const node of nodes) for (const input of node.inputs) this.#count(input, 1);
    for (const result of results) this.#count(result, 1);
  }

  add(node: GraphNode): void {
    const types = node.inputs.map((input) => this.#type(input));
    const expression = node.spec.expression?.(types, node.params);
    if (this.#absorbsWrite(node)) return;
    if (expression && node.outputs.length === 1 && types.length <= this.#maxInputs)
      this.#addElementwise(node);
    else if (node.spec.reduction) this.#addReduction(node);
    else this.#addPlain(node);
    for (const input of node.inputs) this.#count(input, -1);
  }

  finish(): Step[] {
    for (const group of [...this.#open]) this.#close(group);
    return this.#steps;
  }

  #addElementwise(node: GraphNode): void {
    const output = node.outputs[0] ?? -1;
    const { shape } = this.#type(output);
    const joined = this.#groupsBehind(node.inputs).filter(
      (group) => sameShape(group.shape, shape) && this.#readsWhole(group, node),
    );
    for (const group of this.#groupsBehind(node.inputs)) if (!joined.includes(group)) this.#close(group);
    const group = this.#merge(joined, node) ?? this.#newGroup(shape);
    const types = node.inputs.map((input) => this.#type(input));
    const expression = node.spec.expression?.(types, node.params);
    invariant(expression, `op ${node.spec.name} lost its expression`);
    const [at = 0] = group.builder.append(expression, node.inputs, (value) => this.#type(value));
    group.builder.nodeOf.set(output, at);
    group.computed.add(output);
    group.ops++;
  }

  /** Inside a group nobody can read a view of its result under another shape, or memory that it overwrites. */
  #readsWhole(group: Group, node: GraphNode): boolean {
    const memories = new Set(this.#writes(group));
    return node.inputs.every((input) => !memories.has(this.#memory(input)) || group.computed.has(input));
  }

  #merge(groups: readonly Group[], node: GraphNode): Group | undefined {
    const [first, ...others] = groups;
    if (first === undefined) return undefined;
    const inputs = new Set(groups.flatMap((group) => group.builder.inputs).concat(node.inputs));
    const nodes = groups.reduce((sum, group) => sum + group.builder.nodes.length, 0);
    if (inputs.size > this.#maxInputs || nodes > maxNodes) {
      for (const group of groups) this.#close(group);
      return undefined;
    }
    for (const other of others) {
      first.builder.absorb(other.builder);
      for (const value of other.computed) first.computed.add(value);
      for (const [value, memory] of other.writeBack) first.writeBack.set(value, memory);
      first.ops += other.ops;
      this.#open.delete(other);
    }
    return first;
  }

  #newGroup(shape: Shape): Group {
    const group: Group = {
      shape,
      builder: new ExpressionBuilder(),
      computed: new Set(),
      writeBack: new Map(),
      ops: 0,
    };
    this.#open.add(group);
    return group;
  }

  #addReduction(node: GraphNode): void {
    const input = node.inputs[0] ?? -1;
    const types = node.inputs.map((value) => this.#type(value));
    const reduction = node.spec.reduction?.(types, node.params);
    invariant(reduction, `op ${node.spec.name} lost its reduction`);
    const group = this.#groupsBehind(node.inputs).find((candidate) => candidate.computed.has(input));
    const alone =
      group &&
      this.#liveOut(group, input).length === 0 &&
      this.#readsLeft(input) === 1 &&
      group.writeBack.size === 0;
    if (!group || !alone || !this.#spansShape(group)) {
      this.#addPlain(node);
      return;
    }
    this.#open.delete(group);
    const nodes = group.builder.append(reduction.prologue, node.inputs, (value) => this.#type(value));
    const prologue = group.builder.build(nodes);
    const output = node.outputs[0] ?? -1;
    this.#emit({
      spec: fusedReduceSpec as OpSpec,
      params: { reduction: { ...reduction, prologue }, output: this.#type(output) },
      inputs: group.builder.inputs.map((value) => this.#place(value)),
      outputs: [this.#place(output)],
      ops: group.ops + 1,
    });
  }

  /** The inputs broadcast to the group's own shape, which the reduction's axes refer to. */
  #spansShape(group: Group): boolean {
    return sameShape(
      broadcastShapes(
        "fuse",
        group.builder.inputs.map((value) => this.#type(value).shape),
      ),
      group.shape,
    );
  }

  #addPlain(node: GraphNode): void {
    for (const group of this.#groupsBehind(node.inputs)) this.#close(group);
    for (const index of node.spec.mutates ?? []) this.#closeTouching(this.#memory(node.inputs[index] ?? -1));
    this.#emit({
      spec: node.spec,
      params: node.params,
      inputs: node.inputs.map((value) => this.#place(value)),
      outputs: node.outputs.map((value) => this.#place(value)),
      ops: 1,
    });
  }

  /** `writeInto(target, value)` over the whole target, of a value that an open group computes for it alone. */
  #absorbsWrite(node: GraphNode): boolean {
    if (node.spec !== (writeIntoOp.spec as OpSpec)) return false;
    const [target = -1, value = -1] = node.inputs;
    const group = [...this.#open].find((candidate) => candidate.computed.has(value));
    const memory = this.#memory(target);
    const whole = sameShape(this.#type(target).shape, this.#type(value).shape);
    if (!group || !whole || this.#readsLeft(value) !== 1 || group.writeBack.has(value)) return false;
    // Members that join later could not tell what the group computed there from what it writes there.
    if (this.#writes(group).includes(memory)) return false;
    // The group may read the target only at the element that it writes.
    const aligned = group.builder.inputs.every(
      (input) => this.#memory(input) !== memory || sameShape(this.#type(input).shape, group.shape),
    );
    if (!aligned) return false;
    for (const other of [...this.#open])
      if (other !== group && this.#touches(other, memory)) this.#close(other);
    group.writeBack.set(value, memory);
    for (const input of node.inputs) this.#count(input, -1);
    return true;
  }

  /** Open groups whose results, or whose absorbed writes, these values see. */
  #groupsBehind(values: readonly number[]): Group[] {
    const memories = new Set(values.map((value) => this.#memory(value)));
    return [...this.#open].filter((group) => this.#writes(group).some((memory) => memories.has(memory)));
  }

  #writes(group: Group): number[] {
    return [...[...group.computed].map((value) => this.#memory(value)), ...group.writeBack.values()];
  }

  #touches(group: Group, memory: number): boolean {
    return (
      this.#writes(group).includes(memory) ||
      group.builder.inputs.some((value) => this.#memory(value) === memory)
    );
  }

  #closeTouching(memory: number): void {
    for (const group of [...this.#open]) if (this.#touches(group, memory)) this.#close(group);
  }

  /** Results of a group that somebody outside it still reads, except `besides`. */
  #liveOut(group: Group, besides = -1): number[] {
    return [...group.computed].filter((value) => value !== besides && this.#readsLeft(value) > 0);
  }

  #close(group: Group): void {
    this.#open.delete(group);
    const values = [...new Set([...this.#liveOut(group), ...group.writeBack.keys()])];
    if (values.length === 0) return;
    const chain: Step = {
      spec: fusedSpec as OpSpec,
      params: {
        expression: group.builder.build(values.map((value) => group.builder.nodeOf.get(value) ?? 0)),
        outputs: values.map((value) => this.#type(value)),
      },
      inputs: group.builder.inputs.map((value) => this.#place(value)),
      outputs: values.map((value) => ({
        type: this.#type(value),
        memory: group.writeBack.get(value) ?? this.#memory(value),
      })),
      ops: group.ops,
    };
    const fused = values.length === 1 && group.writeBack.size === 0 ? this.#behindProducts(chain) : undefined;
    this.#emit(fused ?? chain);
  }

  /** The chain inside the kernel of the products that it reads, which then are no steps any more. */
  #behindProducts(chain: Step): Step | undefined {
    const fused = fuseEpilogue(chain, {
      device: this.#graph.device,
      steps: this.#steps,
      isNeeded: (memory) =>
        (this.#reads.get(memory) ?? 0) > 0 || [...this.#open].some((group) => this.#touches(group, memory)),
    });
    for (const product of fused?.products ?? []) this.#steps.splice(this.#steps.indexOf(product), 1);
    return fused?.step;
  }

  #emit(step: Step): void {
    this.#steps.push(step);
  }

  #place(value: number): { type: TensorType; memory: number } {
    return { type: this.#type(value), memory: this.#memory(value) };
  }

  #type(value: number): TensorType {
    const found = this.#graph.values[value];
    invariant(found, `graph value ${value} is unknown`);
    return found.type;
  }

  #memory(value: number): number {
    return this.#graph.values[value]?.memory ?? -1;
  }

  #count(value: number, change: number): void {
    const memory = this.#memory(value);
    this.#reads.set(memory, (this.#reads.get(memory) ?? 0) + change);
  }

  #readsLeft(value: number): number {
    return this.#reads.get(this.#memory(value)) ?? 0;
  }
}
