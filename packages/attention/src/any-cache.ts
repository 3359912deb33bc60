import { HeddleError } from "@heddle/tensor";
import type { KvLayer } from "./kv-layer.js";
import type { LatentKvLayer } from "./latent.js";
import type { PagedKvCache } from "./paged-cache.js";

/** The tensors of a cache of any kind. */
export interface CacheTree {
  readonly layers: readonly (KvLayer | LatentKvLayer)[];
}

/** A cache of any kind: what slots are cropped, saved, restored and reordered in. A paged one comes with its pages. */
export type AnyCache = CacheTree | PagedKvCache;

export function treeOf(cache: AnyCache): CacheTree {
  return "pages" in cache ? cache.cache : cache;
}

export function failPageless(caller: string): never {
  throw new HeddleError(
    "unsupported",
    `${caller}: who holds which page of a paged cache must be known; got its tensors alone. Pass the PagedKvCache itself.`,
    { kind: "paged" },
  );
}
