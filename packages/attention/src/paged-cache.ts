import type { Tensor } from "@heddle/tensor";

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
