import { type Device, type FloatDType, HeddleError, scope, zeros } from "@heddle/tensor";
import type { KvCache, SlidingKvLayer } from "./kv-layer.js";

/** Extents of a sliding cache. */
export interface SlidingKvCacheOptions {
  readonly numLayers: number;
  /** Sequences that it holds at once. */
  readonly numSlots: number;
  /** Positions that a query sees, its own included. */
  readonly window: number;
  /** Most tokens of one slot that a step appends before it attends. Default 64. */
  readonly maxNewTokens?: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Features of a value. Default headDim. */
  readonly valueDim?: number;
  /** Default: the device's float. */
  readonly dtype?: FloatDType;
}

/**
 * Creates a cache for layers with a sliding window, filled with zeros: sequences may grow without end.
 *
 * Memory: numLayers x numSlots x numKvHeads x (window + maxNewTokens - 1) x (headDim + valueDim) elements. `cachedAttention` over
 * such a layer sees `window` positions, or fewer where it is asked for fewer.
 * @returns a tree of tensors that the caller owns (`disposeTree(cache)`)
 * @throws HeddleError "config" if a count is not a whole number above 0
 * @see Beltagy et al. 2020, Longformer, arXiv:2004.05150 (the window); Jiang et al. 2023, Mistral 7B, arXiv:2310.06825,
 * section 2 (rolling buffer)
 */
export function createSlidingKvCache(
  device: Device,
  options: SlidingKvCacheOptions,
): KvCache<SlidingKvLayer> {
  const { numLayers, numSlots, window, maxNewTokens = 64, numKvHeads, headDim, valueDim = headDim } = options;
  const counts = { numLayers, numSlots, window, maxNewTokens, numKvHeads, headDim, valueDim };
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HeddleError(
      "config",
      `createSlidingKvCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
  const dtype = options.dtype ?? device.defaultFloat;
  const capacity = window + maxNewTokens - 1;
  return scope(device, () => ({
    layers: Array.from({ length: numLayers }, () => ({
      kind: "sliding" as const,
      key: zeros(device, [numSlots, numKvHeads, capacity, headDim], { dtype }),
      value: zeros(device, [numSlots, numKvHeads, capacity, valueDim], { dtype }),
      window,
    })),
  }));
}
