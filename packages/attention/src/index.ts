export type { AnyCache, CacheTree } from "./any-cache.js";
export { appendRows, type CacheRows, type StoredPair } from "./append-rows.js";
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
export { type CropRange, cropSlot } from "./crop-slot.js";
export { attentionWeights, talkingHeadsAttention, topKAttention } from "./dense-attention.js";
export {
  type DifferentialInputs,
  differentialAttention,
  differentialLambda,
  differentialLambdaInit,
} from "./differential.js";
export {
  attentionMaps,
  type HeatMap,
  type HeatMapSvgOptions,
  heatMapSvg,
  heatMaps,
} from "./heat-map.js";
export { appendKv, checkCacheRows, createKvCache, type KvCacheOptions } from "./kv-cache.js";
export type {
  KvCache,
  KvCacheLayer,
  KvLayer,
  PagedKvLayer,
  QuantisedKvLayer,
  SlidingKvLayer,
} from "./kv-layer.js";
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
  type FeatureMap,
  type LinearAttentionOptions,
  linearAttention,
  linformerAttention,
  performerFeatures,
} from "./linear-attention.js";
export {
  linearRecurrence,
  type RecurrenceForm,
  type RecurrenceInputs,
  type RecurrenceOptions,
  type RecurrenceResult,
} from "./linear-recurrence.js";
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
export { mergeAttention } from "./merge-attention.js";
export type { PageTable } from "./page-table.js";
export { createPagedKvCache, type PagedKvCache, type PagedKvCacheOptions } from "./paged-cache.js";
export { type QkNormOptions, qkNorm } from "./qk-norm.js";
export { createQuantisedKvCache, type QuantisedKvCacheOptions } from "./quantised-cache.js";
export { gatedDeltaRule, retention, retentionDecays } from "./retention.js";
export { reorderSlots, restoreSlot, type SavedSlot, saveSlot } from "./saved-slot.js";
export { createSlidingKvCache, type SlidingKvCacheOptions } from "./sliding-cache.js";
export {
  type BigBirdOptions,
  bigBirdPattern,
  fixedPattern,
  longformerPattern,
  streamingPattern,
  stridedPattern,
} from "./sparse-patterns.js";
