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
  /** [group, tileKeys] */
  readonly scores: Address;
  /** Maximum and sum of the group's first head; heads are `queryLen * splits` pairs apart. */
  readonly stats: Address;
  /** Values of the group's first head; heads are `queryLen * splits` rows apart. */
  readonly output: Address;
}
