import type { Local, Value } from "@heddle/tensor/kernel";
import type { CachePlan, CacheSizes } from "./cache-view.js";
import type { KeyView } from "./flash-forward.wasm.js";
import type { ScratchSlots } from "./scratch-slot.js";
import type { MatmulRegisters } from "./tile-matmul.js";

type Address = Local<"i32">;

/** A call of the decode kernel. */
export interface DecodeCall extends CachePlan {
  readonly extents: CacheSizes;
}

/** What the code of a call depends on. */
export interface DecodePlan extends DecodeCall {
  /** A stage for each thread, where rows are not read in place. */
  readonly slots: ScratchSlots | undefined;
  /** Query heads that share a kv head. */
  readonly group: number;
  /** Parts that the keys of a row are cut into, so that every thread has work. */
  readonly splits: number;
  /** Keys of one step. */
  readonly stepKeys: number;
}

/** Bytes of a head's running sum: eight lanes, since weights are found eight at a time. */
export const sumBytes = 32;

/**
 * Keys of one step, a multiple of eight. Few, so that memory is read in short turns of keys and values; many where the values
 * so far, which each step reads and writes, are so wide that they cost more.
 */
export function stepKeysFor(group: number, valueDim: number): number {
  return group * valueDim <= 4096 ? 8 : 64;
}

/** Where a unit's scratch memory holds what, in bytes. */
export interface DecodeScratch {
  /** Scores of a step, then weights: [group, stepKeys], twice, since keys are scored before the values of the last are read. */
  readonly scores: readonly [number, number];
  /** Eight vectors of products under way. */
  readonly lanes: number;
  /** Running maxima, each in every lane of a vector: [group, 4]. */
  readonly maxima: number;
  /** Running sums, each in eight lanes: [group, 8]. */
  readonly sums: number;
  readonly totalBytes: number;
}

export function scratchOf({ group, stepKeys }: Pick<DecodePlan, "group" | "stepKeys">): DecodeScratch {
  const rows = group * stepKeys * 4;
  const lanes = 2 * rows;
  const maxima = lanes + 128;
  const sums = maxima + group * 16;
  return {
    scores: [0, rows],
    lanes,
    maxima,
    sums,
    totalBytes: Math.ceil((sums + group * sumBytes) / 64) * 64,
  };
}

/** A bias row: that of the group's first head, and how far apart those of its heads are. */
export interface BiasRow {
  readonly address: Address;
  readonly headBytes: Value<"i32">;
}

/** What one unit works on: the queries of a group's heads at one token, and a range of keys. */
export interface DecodeUnit {
  readonly plan: DecodePlan;
  readonly registers: MatmulRegisters;
  /** Query of the group's first head; heads are `queryLen * headDim` floats apart. */
  readonly query: Address;
  readonly keys: KeyView;
  readonly biases: { readonly bias: BiasRow | undefined; readonly distanceBias: BiasRow | undefined };
  /** Laid out as `scratchOf` says. */
  readonly scratch: Address;
  /** Maximum and sum of the group's first head, at the end; heads are `queryLen * splits` pairs apart. */
  readonly stats: Address;
  /** Values of the group's first head; heads are `queryLen * splits` rows apart. */
  readonly output: Address;
}
