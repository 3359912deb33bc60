import { HeddleError, isFloat, isHalf, scope, type Tensor } from "@heddle/tensor";
import { flashAttention } from "./flash.js";
import { type FlashParams, type TileSize, tileSizeFor } from "./flash-params.js";
import { bindMask, type MaskExtents } from "./mask-rule.js";
import type { Mask } from "./masks.js";

/** What decides the scores of `attention` beside query and key; letters as in the README. */
export interface AttentionOptions {
  /** Which keys a query may see. Default: all. */
  readonly mask?: Mask;
  /** Multiplies query-key products. Default 1 / sqrt(D). */
  readonly scale?: number;
  /** Caps scaled scores at +-softcap: softcap tanh(s / softcap), before bias and mask. Default: no cap. */
  readonly softcap?: number;
  /** Added to scores: [B or 1, H or 1, T, S]. Differentiable. */
  readonly bias?: Tensor;
  /**
   * Added to scores, by how many tokens the key lies before the query: [H or 1, T + S - 1], column c for distance c - (T - 1), so
   * that keys after the query come first. Memory linear in length, where a bias is a matrix. Differentiable.
   */
  readonly distanceBias?: Tensor;
  /** One logit a head that takes weight but gives no value: [H]. Differentiable. */
  readonly sinks?: Tensor;
}

/**
 * Attends: out = softmax(scale q k^T) v over the keys that the mask allows, in memory linear in T and S.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D], value [B, G, S, Dv] -> [B, H, T, Dv]; H a multiple of G, query head h uses
 * kv head floor(h G / H) (multi-head G = H, multi-query G = 1, grouped-query between). Queries and keys end together: query i
 * stands at position i + S - T. A query that sees no key gives zeros.
 * @returns a new tensor of the query's dtype (computed in f32; in f64 on the reference device); the caller disposes it
 * @throws HeddleError "shape" if the extents do not fit, "dtype" if query, key and value are not floats of one dtype,
 * "config" if scale or softcap is not a usable number
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2; Ainslie et al. 2023 (grouped queries), arXiv:2305.13245;
 * Dao 2023 (tiling), arXiv:2307.08691. Twin: naive.ts
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions = {}): Tensor {
  return scope(query.device, () => attend(query, [key, value], options).out);
}

/** Attention and the logarithm of its softmax sums. */
export interface AttentionWithLse {
  /** [B, H, T, Dv] */
  readonly out: Tensor;
  /** log(sum(exp(score))) over the seen keys (and the sink), [B, H, T]; -infinity where none is seen. */
  readonly lse: Tensor;
}

/**
 * Attends as `attention` does and also returns the log-sum-exp of each row, with which results over parts of the keys merge.
 *
 * Shapes: as `attention`; lse [B, H, T]. Gradients flow through both.
 * @returns two new tensors that the caller disposes
 * @throws HeddleError as `attention`
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, section 3.1 (L = lse)
 */
export function attentionWithLse(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): AttentionWithLse {
  return scope(query.device, () => attend(query, [key, value], options));
}

/** The work that a mask leaves of an attention call, in tiles. */
export interface VisitedTiles {
  /** Tiles of keys that each tile of queries computed, i32 [B, H, tiles of queries]. */
  readonly visited: Tensor;
  /** Queries and keys of a tile. */
  readonly tile: TileSize;
  /** Tiles of queries times tiles of keys, of one head. */
  readonly tilesPerHead: number;
}

/**
 * Counts the tiles that attention with this mask computes: on a device with a kernel as its kernel counts them while it runs,
 * elsewhere as the mask itself says (tiles with a seen key).
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D] -> visited [B, H, ceil(T / tile.queries)].
 * @returns counts that the caller disposes
 * @throws HeddleError as `attention`
 * @see Dao 2023, arXiv:2307.08691, section 3.1.1 (blocks that a causal mask hides are skipped)
 */
export function visitedTiles(query: Tensor, key: Tensor, mask?: Mask): VisitedTiles {
  const { visited, tile } = scope(query.device, () => {
    const { rule, inputs } = bindMask(mask, maskExtents(query, key));
    const flags = { hasBias: false, hasSinks: false, countsTiles: true };
    const params = { scale: 1, mask: rule, numMaskInputs: inputs.length, ...flags };
    const counts = flashAttention.apply([query, key, key, ...inputs], params)[2] as Tensor;
    return { visited: counts, tile: { ...tileSizeFor(query.shape[2] ?? 0, rule) } };
  });
  const tiles = (length: number | undefined, size: number) => Math.ceil((length ?? 0) / size);
  const tilesPerHead = tiles(query.shape[2], tile.queries) * tiles(key.shape[2], tile.keys);
  return { visited, tile, tilesPerHead };
}

function attend(
  query: Tensor,
  [key, value]: readonly [Tensor, Tensor],
  options: AttentionOptions,
): AttentionWithLse {
  checkDTypes(query, key, value);
  const { bias, distanceBias, sinks, softcap } = options;
  const scale = options.scale ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  checkNumber("scale", scale, Number.isFinite(scale));
  if (softcap !== undefined) checkNumber("softcap", softcap, softcap > 0 && Number.isFinite(softcap));
  const { rule, inputs: maskInputs } = bindMask(options.mask, maskExtents(query, key));
  const params: FlashParams = {
    scale,
    softcap,
    mask: rule,
    numMaskInputs: maskInputs.length,
    hasBias: bias !== undefined,
    hasDistanceBias: distanceBias !== undefined,
    hasSinks: sinks !== undefined,
  };
  const compute = query.device.defaultFloat;
  const floats = [bias, distanceBias, sinks].map((tensor) => tensor && widen(tensor, compute));
  const optional = [...maskInputs, ...floats].filter((tensor) => tensor !== undefined);
  // Half floats stay as they are for devices that multiply them as such.
  const inputs = [query, key, value].map((x) => (isHalf(x.dtype) ? x : widen(x, compute)));
  const [out, lse] = flashAttention.apply([...inputs, ...optional], params) as [Tensor, Tensor];
  return { out: out.dtype === query.dtype ? out : out.cast(query.dtype), lse };
}

function widen(tensor: Tensor, dtype: "f32" | "f64"): Tensor {
  return tensor.dtype === dtype ? tensor : tensor.cast(dtype);
}

function maskExtents(query: Tensor, key: Tensor): MaskExtents {
  const [batch = 0, numHeads = 0, queryLen = 0] = query.shape;
  return { batch, numHeads, queryLen, keyLen: key.shape[2] ?? 0 };
}

function checkDTypes(query: Tensor, key: Tensor, value: Tensor): void {
  if (isFloat(query.dtype) && key.dtype === query.dtype && value.dtype === query.dtype) return;
  throw new HeddleError(
    "dtype",
    `attention: query, key and value must be floats of one dtype; got ${query.dtype}, ${key.dtype}, ${value.dtype}. Cast them to one.`,
    { query: query.dtype, key: key.dtype, value: value.dtype },
  );
}

function checkNumber(name: "scale" | "softcap", value: number, isUsable: boolean): void {
  if (isUsable) return;
  const rule = name === "scale" ? "a finite number" : "a finite number above 0";
  throw new HeddleError(
    "config",
    `attention: ${name} must be ${rule}; got ${name} ${value}. Leave it out for the default.`,
    { [name]: value },
  );
}
