export type { CacheRows } from "./append-rows.js";
export {
  type AttentionOptions,
  type AttentionWithLse,
  attention,
  attentionWithLse,
  type VisitedTiles,
  visitedTiles,
} from "./attention.js";
export {
  type CachedAttentionOptions,
  type CachedScoreOptions,
  type CrossAttentionOptions,
  cachedAttention,
  crossAttention,
} from "./cached-attention.js";
export {
  appendKv,
  checkCacheRows,
  createKvCache,
  type KvCache,
  type KvCacheLayer,
  type KvCacheOptions,
  type KvLayer,
} from "./kv-cache.js";
export {
  appendLatents,
  cachedLatentAttention,
  createLatentCache,
  expandLatents,
  type LatentAttentionOptions,
  type LatentForm,
  type LatentKeys,
  type LatentKvCache,
  type LatentKvLayer,
  type LatentQuery,
  type LatentWeights,
  latentAttention,
  splitLatentProjection,
} from "./latent.js";
export {
  allOf,
  anyOf,
  blockSparse,
  causal,
  chunked,
  columns,
  documentIds,
  documents,
  firstKeys,
  type Mask,
  padding,
  prefix,
  queries,
  slidingWindow,
  strided,
  tensorMask,
} from "./masks.js";
export type { PageTable } from "./page-table.js";
export {
  createPagedKvCache,
  type PagedKvCache,
  type PagedKvCacheOptions,
  type PagedKvLayer,
} from "./paged-cache.js";
export {
  createQuantisedKvCache,
  type QuantisedKvCacheOptions,
  type QuantisedKvLayer,
} from "./quantised-cache.js";
export { reorderSlots, restoreSlot, type SavedSlot, saveSlot } from "./saved-slot.js";
export { createSlidingKvCache, type SlidingKvCacheOptions, type SlidingKvLayer } from "./sliding-cache.js";
