import type { OpSpec } from "./op.js";
import type { Storage } from "./storage.js";
import type { Tensor } from "./tensor.js";

/** Records ops instead of running them: a gradient tape or a compiled graph. */
export interface Trace {
  /** Of several traces among an op's inputs the highest level records it: 0 for a graph, 1.. for tapes, innermost highest. */
  readonly level: number;
  apply(spec: OpSpec, inputs: readonly Tensor[], params: unknown): readonly Tensor[];
}

/** Where a tensor's values are: in device memory, or still to be decided by a trace. */
export type Source =
  | { readonly kind: "storage"; readonly storage: Storage; readonly executedOn?: string }
  | { readonly kind: "tape"; readonly trace: Trace; readonly id: number; readonly primal: Tensor }
  | { readonly kind: "graph"; readonly trace: Trace; readonly value: number };
