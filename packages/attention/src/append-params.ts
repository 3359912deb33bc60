import type { Placement } from "./cache-placement.js";

/** Names of the inputs: one or two stores, as many new tensors, slots, starts, and the table of a paged store. */
export interface AppendParams {
  readonly placement: Placement;
  readonly stores: 1 | 2;
}

/** The inputs of a call by their meaning. */
export function splitInputs<T>(
  inputs: readonly T[],
  stores: 1 | 2,
): {
  readonly pairs: readonly { readonly store: T; readonly fresh: T }[];
  readonly slots: T;
  readonly starts: T;
  readonly table: T | undefined;
} {
  const pairs = Array.from({ length: stores }, (_, i) => ({
    store: inputs[i] as T,
    fresh: inputs[stores + i] as T,
  }));
  const [slots, starts, table] = inputs.slice(2 * stores);
  return { pairs, slots: slots as T, starts: starts as T, table };
}
