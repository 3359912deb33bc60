export { type AttentionOptions, type AttentionWithLse, attention, attentionWithLse } from "./attention.js";
export { type CachedAttentionOptions, cachedAttention } from "./cached-attention.js";
export {
  appendKv,
  type CacheRows,
  checkCacheRows,
  createKvCache,
  type KvCache,
  type KvCacheLayer,
  type KvCacheOptions,
} from "./kv-cache.js";
export {
  type AllOfMask,
  allOf,
  type CausalMask,
  causal,
  type Mask,
  type PaddingMask,
  padding,
  type SlidingWindowMask,
  slidingWindow,
} from "./masks.js";
