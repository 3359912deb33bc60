import { concat, type Device, type FloatDType, HeddleError, scope, type Tensor, zeros } from "@heddle/tensor";
import { appendRows, type CacheRows } from "./append-rows.js";
import { type AttentionOptions, attention } from "./attention.js";
import { attendCached, type CachedScoreOptions } from "./cached-attention.js";

/** Queries of multi-head latent attention: a part that meets content, and one rotated by position. */
export interface LatentQuery {
  /** [B, H, T, Dn] */
  readonly content: Tensor;
  /** [B, H, T, Dr], rotated. */
  readonly rotated: Tensor;
}

/** What stands for keys and values: one latent a token, shared by all heads, and one rotated key. */
export interface LatentKeys {
  /** [B, 1, S, R], normalised where the model does so. */
  readonly latent: Tensor;
  /** [B, 1, S, Dr], rotated. */
  readonly rotated: Tensor;
}

/** How each head makes its keys and values out of a latent. */
export interface LatentWeights {
  /** [H, Dn, R] */
  readonly keyUp: Tensor;
  /** [H, Dv, R] */
  readonly valueUp: Tensor;
}

/**
 * Cuts the projection of latents that checkpoints store (kv_b_proj) into its parts.
 *
 * Shapes: weight [H (Dn + Dv), R] -> keyUp [H, Dn, R], valueUp [H, Dv, R]. Differentiable.
 * @param sizes.contentDim  Dn
 * @returns new tensors that the caller disposes
 * @throws HeddleError "shape" if the rows are no multiple of the heads, or leave nothing for values
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1.2 (W^UK and W^UV)
 */
export function splitLatentProjection(
  weight: Tensor,
  sizes: { readonly numHeads: number; readonly contentDim: number },
): LatentWeights {
  const { numHeads, contentDim } = sizes;
  const [rows = 0, latentDim = 0] = weight.shape;
  const perHead = rows / numHeads;
  if (weight.rank !== 2 || !Number.isInteger(perHead) || perHead <= contentDim) {
    throw new HeddleError(
      "shape",
      `splitLatentProjection: weight must be [numHeads (contentDim + valueDim), latentDim]; got weight [${weight.shape.join(", ")}], numHeads ${numHeads}, contentDim ${contentDim}. Take the sizes from the model's config (qk_nope_head_dim, v_head_dim).`,
      { weight: weight.shape, numHeads, contentDim },
    );
  }
  return scope(weight.device, () => {
    const heads = weight.reshape([numHeads, perHead, latentDim]);
    return { keyUp: heads.narrow(1, 0, contentDim), valueUp: heads.narrow(1, contentDim, perHead) };
  });
}

/** `expanded` makes keys and values of every head; `absorbed` attends to the latents themselves. */
export type LatentForm = "expanded" | "absorbed";

/** Options of `latentAttention`: those of `attention`, and which of its two equal forms runs. */
export interface LatentAttentionOptions extends AttentionOptions {
  /** Default "expanded": fewer operations for whole texts. "absorbed" reads R + Dr numbers a token, whatever the heads. */
  readonly form?: LatentForm;
}

/**
 * Multi-head latent attention: keys [keyUp c, r] and values valueUp c of each head come from one latent c and one rotated key r
 * a token. Both forms are equal: q (keyUp c) = (q keyUp) c, and the values of a head are a product behind the softmax.
 *
 * Shapes: query { content [B, H, T, Dn], rotated [B, H, T, Dr] }, keys { latent [B, 1, S, R], rotated [B, 1, S, Dr] }, weights
 * { keyUp [H, Dn, R], valueUp [H, Dv, R] } -> [B, H, T, Dv]. Differentiable in all of them.
 * @param options.scale  default 1 / sqrt(Dn + Dr)
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" if the extents do not fit; those of `attention`
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1 (c = c_KV, keyUp = W_UK, valueUp = W_UV, r = k_R)
 */
export function latentAttention(
  query: LatentQuery,
  keys: LatentKeys,
  { weights, ...options }: LatentAttentionOptions & { readonly weights: LatentWeights },
): Tensor {
  const { form = "expanded", ...rest } = options;
  checkLatent(query, weights, { latent: keys.latent, rotated: keys.rotated });
  const scale = options.scale ?? latentScale(query);
  return scope(query.content.device, () => {
    if (form === "expanded") {
      const { key, value } = expandLatents(keys, weights);
      return attention(concat([query.content, query.rotated], { axis: 3 }), key, value, { ...rest, scale });
    }
    const key = concat([keys.latent, keys.rotated], { axis: 3 });
    const mixed = attention(absorbQuery(query, weights), key, keys.latent, { ...rest, scale });
    return expandOutput(mixed, weights);
  });
}

/**
 * Makes the keys and values of every head: key [B, H, S, Dn + Dr], value [B, H, S, Dv]. Differentiable.
 *
 * Shapes: latent [B, 1, S, R], rotated [B, 1, S, Dr], keyUp [H, Dn, R], valueUp [H, Dv, R].
 * @returns new tensors that the caller disposes
 * @throws HeddleError "shape", of the products inside, if latents and weights do not meet; `latentAttention` checks them by name
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1.2, equations 10 and 11, and section 2.1.3 (shared rotated key)
 */
export function expandLatents(
  { latent, rotated }: LatentKeys,
  { keyUp, valueUp }: LatentWeights,
): { readonly key: Tensor; readonly value: Tensor } {
  return scope(latent.device, () => {
    const [batch = 0, , keyLen = 0] = latent.shape;
    const numHeads = keyUp.shape[0] ?? 0;
    const up = (weight: Tensor) => latent.matmul(weight.reshape([1, ...weight.shape]), { transposeB: true });
    const same = rotated.broadcastTo([batch, numHeads, keyLen, rotated.shape[3] ?? 0]);
    return { key: concat([up(keyUp), same], { axis: 3 }), value: up(valueUp) };
  });
}

/** A query that meets latents: [B, H, T, Dn], [H, Dn, R] -> [B, H, T, R + Dr]. */
function absorbQuery({ content, rotated }: LatentQuery, { keyUp }: LatentWeights): Tensor {
  return concat([content.matmul(keyUp.reshape([1, ...keyUp.shape])), rotated], { axis: 3 });
}

/** Values out of mixed latents: [B, H, T, R], [H, Dv, R] -> [B, H, T, Dv]. */
function expandOutput(mixed: Tensor, { valueUp }: LatentWeights): Tensor {
  return mixed.matmul(valueUp.reshape([1, ...valueUp.shape]), { transposeB: true });
}

function latentScale({ content, rotated }: LatentQuery): number {
  return 1 / Math.sqrt((content.shape[3] ?? 1) + (rotated.shape[3] ?? 0));
}

/** Latents of one model layer: what multi-head latent attention keeps of a token. */
export interface LatentKvLayer {
  readonly kind: "latent";
  /** [numSlots, 1, maxSeqLen, R + Dr]: a latent, then its rotated key. */
  readonly key: Tensor;
  /** R */
  readonly latentDim: number;
}

/** A plain tree of tensors. Free it with `disposeTree`. */
export interface LatentKvCache {
  readonly layers: readonly LatentKvLayer[];
}

/**
 * Creates a cache of latents, filled with zeros.
 *
 * Memory: numLayers x numSlots x maxSeqLen x (latentDim + rotatedDim) elements, whatever the number of heads.
 * @returns a tree of tensors [numSlots, 1, maxSeqLen, R + Dr] that the caller owns (`disposeTree(cache)`)
 * @throws HeddleError "config" if a count is not a whole number above 0
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1.4 (comparison of caches)
 */
export function createLatentCache(
  device: Device,
  options: {
    readonly numLayers: number;
    readonly numSlots: number;
    readonly maxSeqLen: number;
    /** R */
    readonly latentDim: number;
    /** Dr */
    readonly rotatedDim: number;
    /** Default: the device's float. */
    readonly dtype?: FloatDType;
  },
): LatentKvCache {
  const { dtype = device.defaultFloat, ...counts } = options;
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HeddleError(
      "config",
      `createLatentCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
  const { numLayers, numSlots, maxSeqLen, latentDim, rotatedDim } = counts;
  return scope(device, () => ({
    layers: Array.from({ length: numLayers }, () => ({
      kind: "latent" as const,
      key: zeros(device, [numSlots, 1, maxSeqLen, latentDim + rotatedDim], { dtype }),
      latentDim,
    })),
  }));
}

/**
 * Writes new latents into a layer, in place: row b, token t goes to slot slots[b], position starts[b] + t.
 *
 * Shapes: latent [B, 1, T, R], rotated [B, 1, T, Dr], slots and starts [B] int32. Not differentiable.
 * @returns nothing: the layer's tensor changes
 * @throws HeddleError as `appendKv`
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1.2 (what is kept of a token)
 */
export function appendLatents(layer: LatentKvLayer, { latent, rotated }: LatentKeys, rows: CacheRows): void {
  scope(latent.device, () => {
    appendRows(
      { key: layer.key },
      { key: concat([latent, rotated], { axis: 3 }) },
      { ...rows, placement: "contiguous" },
    );
    return undefined;
  });
}

/**
 * Attends to cached latents, causally, in the absorbed form: each token is read once, whatever the number of heads.
 *
 * Shapes: query { content [B, H, T, Dn], rotated [B, H, T, Dr] } -> [B, H, T, Dv]; rows as of `cachedAttention`. Not
 * differentiable. Rows outside of the cache give zeros.
 * @param options.scale  default 1 / sqrt(Dn + Dr)
 * @returns a new tensor that the caller disposes
 * @throws HeddleError as `cachedAttention`
 * @see DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1.2. Twin: `latentAttention`
 */
export function cachedLatentAttention(
  query: LatentQuery,
  layer: LatentKvLayer,
  { weights, ...options }: CacheRows & CachedScoreOptions & { readonly weights: LatentWeights },
): Tensor {
  checkLatent(query, weights, undefined);
  const scale = options.scale ?? latentScale(query);
  return scope(query.content.device, () => {
    const absorbed = absorbQuery(query, weights);
    const rules = { placement: "contiguous", isCausal: true, valueDim: layer.latentDim } as const;
    return expandOutput(attendCached(absorbed, { key: layer.key }, { ...options, ...rules, scale }), weights);
  });
}

function checkLatent(
  { content, rotated }: LatentQuery,
  { keyUp, valueUp }: LatentWeights,
  keys: LatentKeys | undefined,
): void {
  const [batch, numHeads, queryLen, contentDim] = content.shape;
  const latentDim = keyUp.shape[2];
  const [, , keyLen] = keys?.latent.shape ?? [];
  const rotatedDim = rotated.shape[3];
  const fits =
    content.rank === 4 &&
    sameShape(rotated.shape, [batch, numHeads, queryLen, rotatedDim]) &&
    sameShape(keyUp.shape, [numHeads, contentDim, latentDim]) &&
    sameShape(valueUp.shape, [numHeads, valueUp.shape[1], latentDim]) &&
    (keys === undefined ||
      (sameShape(keys.latent.shape, [batch, 1, keyLen, latentDim]) &&
        sameShape(keys.rotated.shape, [batch, 1, keyLen, rotatedDim])));
  if (fits) return;
  const shapes = { content, rotated, keyUp, valueUp, ...keys };
  const names = { latent: "latent", rotated: "rotated key" };
  const shown = [
    ...Object.entries({ content, rotated, keyUp, valueUp }),
    ...Object.entries(keys ?? {}).map(([name, x]) => [names[name as keyof typeof names], x] as const),
  ].map(([name, { shape }]) => `${name} [${shape.join(", ")}]`);
  throw new HeddleError(
    "shape",
    `latentAttention: query must be [B, H, T, Dn] and [B, H, T, Dr], keyUp [H, Dn, R], valueUp [H, Dv, R], keys [B, 1, S, R] and [B, 1, S, Dr]; got ${shown.join(", ")}. Give latents an axis of one head.`,
    Object.fromEntries(Object.entries(shapes).map(([name, x]) => [name, x.shape])),
  );
}

function sameShape(shape: readonly number[], wanted: readonly (number | undefined)[]): boolean {
  return shape.length === wanted.length && wanted.every((extent, axis) => extent === shape[axis]);
}
