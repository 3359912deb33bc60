import { plainText } from "../call-key.js";
import type { Device } from "../device.js";
import { HeddleError, invariant } from "../error.js";
import { type OpSpec, typeOf } from "../op.js";
import { broadcastOp } from "../ops/movement.js";
import { formatType, sameShape, type TensorType } from "../shape.js";
import type { Trace } from "../source.js";
import type { Storage } from "../storage.js";
import type { Tensor } from "../tensor.js";

/** What owns the memory behind a value: an argument of the compiled function, a captured constant, or the plan itself. */
export type Home =
  | { readonly kind: "argument"; readonly index: number }
  | { readonly kind: "constant"; readonly storage: Storage }
  | { readonly kind: "computed" };

export interface GraphValue {
  readonly type: TensorType;
  /** Id of the memory; reshaped views share it. */
  readonly memory: number;
}

export interface GraphNode {
  readonly spec: OpSpec;
  readonly params: unknown;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Records a function's ops as a list in program order, over values without numbers. */
export class Graph implements Trace {
  readonly level = 0;
  readonly device: Device;
  readonly values: GraphValue[] = [];
  readonly homes: Home[] = [];
  readonly nodes: GraphNode[] = [];
  readonly #constants = new Map<Storage, number>();
  /** Outputs of shared ops by what they were called with. */
  readonly #shared = new Map<OpSpec, Map<string, readonly number[]>>();
  /** How often each memory was written to so far. */
  readonly #versions = new Map<number, number>();
  /** Values of each constant, one per shape. */
  readonly #constantValues = new Map<number, number[]>();

  constructor(device: Device) {
    this.device = device;
  }

  /** A tensor that stands for an argument; arguments with one memory share an index. */
  argument(like: Tensor, index: number): Tensor {
    let memory = this.homes.findIndex((home) => home.kind === "argument" && home.index === index);
    if (memory < 0) memory = this.#addMemory({ kind: "argument", index });
    return this.#tensor(like, this.#addValue(typeOf(like), memory));
  }

  /** The value id of a tensor; one with numbers becomes a constant of the plan. */
  valueOf(tensor: Tensor): number {
    const { source } = tensor;
    if (source.kind === "graph" && source.trace === this) return source.value;
    if (source.kind !== "storage") {
      throw new HeddleError(
        "unsupported",
        `compile: a traced tensor may not leave its trace; got ${formatType(tensor)} of another trace. Pass it as an argument.`,
        { shape: tensor.shape },
      );
    }
    let memory = this.#constants.get(source.storage);
    if (memory === undefined) {
      memory = this.#addMemory({ kind: "constant", storage: source.storage.retain() });
      this.#constants.set(source.storage, memory);
    }
    const values = this.#constantValues.get(memory) ?? [];
    const known = values.find((value) => sameShape(this.values[value]?.type.shape ?? [], tensor.shape));
    if (known !== undefined) return known;
    const value = this.#addValue(typeOf(tensor), memory);
    this.#constantValues.set(memory, [...values, value]);
    return value;
  }

  apply(spec: OpSpec, inputs: readonly Tensor[], params: unknown): readonly Tensor[] {
    const first = inputs[0];
    invariant(first, `op ${spec.name} was traced without a tensor`);
    const ids = inputs.map((input) => this.valueOf(input));
    const types = spec.infer(inputs, params);
    for (const index of spec.mutates ?? []) this.#checkWritable(spec.name, inputs[index]);
    const own = inputs.map((input, i) => this.#tensor(input, ids[i] ?? 0));
    const expanded = spec.expand?.(own, params);
    if (expanded !== undefined) return expanded;
    const known = this.#knownOutputs(spec, params, ids);
    if (known.outputs !== undefined) return known.outputs.map((id) => this.#tensor(first, id));
    if (spec.alias) return [this.#view(first, ids[0] ?? 0, types[0] ?? first)];
    const call = { op: spec, params, inputs: inputs.map(typeOf), outputs: types };
    if (this.device.lower(call) === undefined) {
      if (spec.reference) return spec.reference(own, params);
      throw new HeddleError(
        "unsupported",
        `${spec.name}: the ${this.device.kind} device has no kernel for these types; got ${inputs.map(formatType).join(", ")}. Cast to f32 first.`,
        { op: spec.name, device: this.device.kind },
      );
    }
    const outputs = types.map((type) => this.#addValue(type, this.#addMemory({ kind: "computed" })));
    this.nodes.push({ spec, params, inputs: ids, outputs });
    known.remember(outputs);
    for (const index of spec.mutates ?? []) this.#countWrite(ids[index] ?? -1);
    return outputs.map((id) => this.#tensor(first, id));
  }

  /** The outputs of an equal call of a shared op whose inputs were not written to since. */
  #knownOutputs(
    spec: OpSpec,
    params: unknown,
    ids: readonly number[],
  ): { readonly outputs?: readonly number[] | undefined; remember(outputs: readonly number[]): void } {
    const text = spec.isShared === true ? plainText(params) : undefined;
    if (text === undefined) return { remember: () => {} };
    const inputs = ids.map((id) => `${id}@${this.#versions.get(this.values[id]?.memory ?? -1) ?? 0}`);
    const key = `${text}|${inputs.join()}`;
    const calls = this.#shared.get(spec) ?? new Map<string, readonly number[]>();
    this.#shared.set(spec, calls);
    return { outputs: calls.get(key), remember: (outputs) => void calls.set(key, outputs) };
  }

  #countWrite(id: number): void {
    const memory = this.values[id]?.memory ?? -1;
    this.#versions.set(memory, (this.#versions.get(memory) ?? 0) + 1);
  }

  /** Records a copy of a tensor. */
  copy(tensor: Tensor): Tensor {
    const [copied] = this.apply(broadcastOp.spec as OpSpec, [tensor], { shape: tensor.shape });
    invariant(copied, "a copy has one output");
    return copied;
  }

  /** A constant is computed with while tracing, so that later reads could not see what a replay writes. */
  #checkWritable(caller: string, target: Tensor | undefined): void {
    if (target?.source.kind !== "storage") return;
    throw new HeddleError(
      "unsupported",
      `${caller}: inside compile only an argument, or what was computed from one, may be written to; got ${formatType(target)} that the function made or caught. Pass it as an argument.`,
      { op: caller, shape: target.shape, dtype: target.dtype },
    );
  }

  /** Frees the captured constants. */
  dispose(): void {
    for (const storage of this.#constants.keys()) storage.release();
    this.#constants.clear();
  }

  #view(like: Tensor, id: number, type: TensorType): Tensor {
    const value = this.values[id];
    invariant(value, `graph value ${id} is unknown`);
    // A view of the same shape is the same value, so that fusion sees through it.
    return this.#tensor(
      like,
      sameShape(value.type.shape, type.shape) ? id : this.#addValue(type, value.memory),
    );
  }

  #addMemory(home: Home): number {
    this.homes.push(home);
    return this.homes.length - 1;
  }

  #addValue(type: TensorType, memory: number): number {
    this.values.push({ type, memory });
    return this.values.length - 1;
  }

  #tensor(like: Tensor, value: number): Tensor {
    const type = this.values[value]?.type;
    invariant(type, `graph value ${value} is unknown`);
    return like.spawn(type, { kind: "graph", trace: this, value });
  }
}

/** Drops nodes whose results nobody reads. Nodes that change memory stay. */
export function dropUnused(graph: Graph, results: readonly number[]): GraphNode[] {
  const memoryOf = (value: number) => graph.values[value]?.memory ?? -1;
  const used = new Set(results.map(memoryOf));
  const kept: GraphNode[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i];
    if (node === undefined) continue;
    if (!node.spec.mutates?.length && !node.outputs.some((output) => used.has(memoryOf(output)))) continue;
    for (const input of node.inputs) used.add(memoryOf(input));
    kept.push(node);
  }
  return kept.reverse();
}
