import type { OpSpec } from "../op.js";
import type { TensorType } from "../shape.js";

/** One launch to be: an op over memories. That of an output may be an argument's, which it then replaces. */
export interface Step {
  readonly spec: OpSpec;
  readonly params: unknown;
  readonly inputs: readonly { readonly type: TensorType; readonly memory: number }[];
  readonly outputs: readonly { readonly type: TensorType; readonly memory: number }[];
  /** How many recorded ops it stands for. */
  readonly ops: number;
}

/** Whether two steps may run in either order: neither writes what the other reads or writes. */
export function isIndependent(a: Step, b: Step): boolean {
  const [writesA, writesB] = [writesOf(a), writesOf(b)];
  const touches = (step: Step, memories: ReadonlySet<number>) =>
    [...step.inputs, ...step.outputs].some(({ memory }) => memories.has(memory));
  return !touches(a, writesB) && !touches(b, writesA);
}

function writesOf({ spec, inputs, outputs }: Step): ReadonlySet<number> {
  const written = outputs.map(({ memory }) => memory);
  const mutated = (spec.mutates ?? []).map((index) => inputs[index]?.memory ?? -1);
  return new Set([...written, ...mutated]);
}
