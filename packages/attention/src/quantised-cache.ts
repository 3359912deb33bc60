import { type Device, HeddleError, scope, zeros } from "@heddle/tensor";
import type { CacheBits, KvCache, QuantisedKvLayer } from "./kv-layer.js";

/** Extents of a quantised cache, and how it rounds. */
export interface QuantisedKvCacheOptions {
  readonly numLayers: number;
  /** Sequences that it holds at once. */
  readonly numSlots: number;
  /** Positions of each slot, rounded up to a multiple of `group`. */
  readonly maxSeqLen: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Features of a value. Default headDim. */
  readonly valueDim?: number;
  readonly bits: CacheBits;
  /** Tokens that share the scales of their keys. Default 64. */
  readonly group?: number;
  /** Most tokens of one slot that a step appends before it attends. Default 64. */
  readonly maxNewTokens?: number;
}

/**
 * Creates a cache of 8- or 4-bit keys and values, filled with zeros.
 *
 * Memory of a token and kv head, in bytes: (D + Dv) bits / 8 + 8 D / group + 8, beside `group + maxNewTokens` rows of f32 keys a
 * slot. A row of `cachedAttention` reads the groups that its last token has completed as codes, the rest as it was appended: so
 * results do not depend on the other rows of a batch.
 * @returns a tree of tensors that the caller owns (`disposeTree(cache)`)
 * @throws HeddleError "config" if a count is not a whole number above 0, or 4-bit rows have an odd size
 * @see Liu et al. 2024, KIVI, arXiv:2402.02750, section 3 (keys per channel, values per token). Differs from it: values are
 * rounded as they come, without a residual
 */
export function createQuantisedKvCache(
  device: Device,
  options: QuantisedKvCacheOptions,
): KvCache<QuantisedKvLayer> {
  const { numLayers, numSlots, numKvHeads, headDim, valueDim = headDim, bits } = options;
  const { group = 64, maxNewTokens = 64 } = options;
  checkOptions({ ...options, group, maxNewTokens, valueDim });
  const groups = Math.ceil(options.maxSeqLen / group);
  const maxSeqLen = groups * group;
  const tail = Math.ceil((group + maxNewTokens - 1) / group) * group;
  const store = (rows: number, width: number, dtype: "u8" | "f32" | "f64") =>
    zeros(device, [numSlots, numKvHeads, rows, width], { dtype });
  const float = device.defaultFloat;
  const bytes = (width: number) => (width * bits) / 8;
  return scope(device, () => ({
    layers: Array.from({ length: numLayers }, () => ({
      kind: "quantised" as const,
      bits,
      group,
      key: store(maxSeqLen, bytes(headDim), "u8"),
      value: store(maxSeqLen, bytes(valueDim), "u8"),
      keyScale: store(groups, headDim, float),
      keyMin: store(groups, headDim, float),
      keyTail: store(tail, headDim, float),
      valueScale: store(maxSeqLen, 1, float),
      valueMin: store(maxSeqLen, 1, float),
    })),
  }));
}

function checkOptions(options: QuantisedKvCacheOptions & { readonly valueDim: number }): void {
  const { bits, headDim, valueDim, ...counts } = options;
  if (bits !== 8 && bits !== 4) {
    throw new HeddleError(
      "config",
      `createQuantisedKvCache: bits must be 8 or 4; got bits ${bits}. Use createKvCache for half floats.`,
      { bits },
    );
  }
  for (const [name, value] of Object.entries({ ...counts, headDim, valueDim })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HeddleError(
      "config",
      `createQuantisedKvCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
  if (bits === 8 || (headDim % 2 === 0 && valueDim % 2 === 0)) return;
  throw new HeddleError(
    "config",
    `createQuantisedKvCache: 4-bit rows must have an even size; got headDim ${headDim}, valueDim ${valueDim}. Use 8 bits.`,
    { headDim, valueDim },
  );
}
