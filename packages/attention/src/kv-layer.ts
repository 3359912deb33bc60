import type { Tensor } from "@heddle/tensor";

/** Keys and values of one model layer: one row of `maxSeqLen` positions per slot and kv head. */
export interface KvCacheLayer {
  readonly kind?: "contiguous";
  /** [numSlots, G, maxSeqLen, D] */
  readonly key: Tensor;
  /** [numSlots, G, maxSeqLen, Dv] */
  readonly value: Tensor;
}

/** A layer that keeps the last positions of each slot only, in a ring: position p lies in row p mod capacity. */
export interface SlidingKvLayer {
  readonly kind: "sliding";
  /** [numSlots, G, capacity, D] */
  readonly key: Tensor;
  /** [numSlots, G, capacity, Dv] */
  readonly value: Tensor;
  /** Positions that a query sees, its own included. */
  readonly window: number;
}

/** A layer whose rows lie in pages that slots share. */
export interface PagedKvLayer {
  readonly kind: "paged";
  /** [numPages, G, pageSize, D] */
  readonly key: Tensor;
  /** [numPages, G, pageSize, Dv] */
  readonly value: Tensor;
  /** Page of each slot's positions: [numSlots, pages of a slot] i32, -1 = none; one for all layers. */
  readonly table: Tensor;
}

/** Bits of a stored element. */
export type CacheBits = 8 | 4;

/**
 * A layer of rounded keys and values: x = min + scale code. Keys share scale and minimum over `group` tokens of a channel, values
 * over the channels of a token. The newest tokens, whose group is not full, have their keys in `keyTail` as they are.
 */
export interface QuantisedKvLayer {
  readonly kind: "quantised";
  readonly bits: CacheBits;
  /** Tokens that share the scales of their keys. */
  readonly group: number;
  /** Codes, [numSlots, G, maxSeqLen, D], or D / 2 bytes of two where bits is 4 (the first in the low half). u8 */
  readonly key: Tensor;
  /** Codes, [numSlots, G, maxSeqLen, Dv], or Dv / 2 bytes of two. u8 */
  readonly value: Tensor;
  /** [numSlots, G, maxSeqLen / group, D] */
  readonly keyScale: Tensor;
  readonly keyMin: Tensor;
  /** Keys of the newest tokens: position p in row p mod its length, [numSlots, G, tail, D]. */
  readonly keyTail: Tensor;
  /** [numSlots, G, maxSeqLen, 1] */
  readonly valueScale: Tensor;
  readonly valueMin: Tensor;
}

/** A layer of any kind: what `appendKv`, `cachedAttention` and `crossAttention` take. */
export type KvLayer = KvCacheLayer | SlidingKvLayer | PagedKvLayer | QuantisedKvLayer;

/** A cache: a plain tree of tensors, of one kind of layer or several. Free it with `disposeTree`. */
export interface KvCache<Layer extends KvLayer = KvCacheLayer> {
  readonly layers: readonly Layer[];
}
