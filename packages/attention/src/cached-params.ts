import type { Placement } from "./cache-placement.js";
import type { QuantisedFormat } from "./quantised-format.js";

/** Inputs of the op, in the order of its params' `inputs`. */
export type CachedInput =
  | "query"
  | "key"
  | "value"
  | "slots"
  | "starts"
  | "table"
  | "bias"
  | "distanceBias"
  | "sinks"
  | QuantisedInput;

/** What a quantised layer has beside its codes. */
export type QuantisedInput = "keyScale" | "keyMin" | "keyTail" | "valueScale" | "valueMin";

/** What the op needs beside its tensors; plain data. */
export interface CachedAttentionParams {
  readonly placement: Placement;
  readonly scale: number;
  readonly softcap?: number | undefined;
  /** Keys before the query's own position that it sees; undefined = all. */
  readonly left?: number | undefined;
  /** Queries see keys of their own chunk only; undefined = all. */
  readonly chunk?: number | undefined;
  /** Otherwise every query sees all `starts + T` keys of its slot. */
  readonly isCausal: boolean;
  /** The value of a key is its first `valueDim` features: no input "value" (latent caches). */
  readonly valueDim?: number | undefined;
  /** How keys and values are rounded; they are codes then. */
  readonly format?: QuantisedFormat | undefined;
  readonly inputs: readonly CachedInput[];
}

/** How many of a slot's positions a query sees at most. */
export function reachOf({ left, chunk }: CachedAttentionParams, maxSeqLen: number): number {
  return Math.min(maxSeqLen, (left ?? maxSeqLen) + 1, chunk ?? maxSeqLen);
}

/** Tensors or types of a call by name. */
export function cachedInputs<T>(
  inputs: readonly T[],
  { inputs: names }: CachedAttentionParams,
): { readonly [name in CachedInput]?: T } {
  return Object.fromEntries(names.map((name, index) => [name, inputs[index]]));
}
