import {
  createKvCache,
  createLatentCache,
  type KvCacheLayer,
  type LatentKvLayer,
  type LatentWeights,
  splitLatentProjection,
} from "@heddle/attention";
import { type Device, type FloatDType, Tensor } from "@heddle/tensor";
import { type DecoderConfig, layerConfig } from "../config.js";
import type { DecoderWeights } from "../weights.js";

/** What a decoder keeps of the tokens that it has seen: keys and values of each layer, or latents. A plain tree. */
export interface DecoderCache {
  readonly layers: readonly (KvCacheLayer | LatentKvLayer)[];
}

export interface DecoderCacheSizes {
  readonly numSlots: number;
  readonly maxSeqLen: number;
  readonly dtype: FloatDType;
}

/**
 * Creates the cache of a decoder, filled with zeros: each layer with the heads that it has; latents where the layer has them
 * and `latentWeights` gives the weights that attend to them.
 *
 * @returns a tree of tensors that the caller disposes
 */
export function createDecoderCache(
  config: DecoderConfig,
  device: Device,
  sizes: DecoderCacheSizes & { readonly latentWeights: readonly (LatentWeights | undefined)[] },
): DecoderCache {
  const { latentWeights, ...slots } = sizes;
  const layers = Array.from({ length: config.numLayers }, (_, layer) => {
    const { numKvHeads, attention } = layerConfig(config, layer);
    const { latent } = attention;
    if (latent !== undefined && latentWeights[layer] !== undefined) {
      const { kvRank: latentDim, ropeDim: rotatedDim } = latent;
      return createLatentCache(device, { ...slots, numLayers: 1, latentDim, rotatedDim }).layers;
    }
    return createKvCache(device, {
      ...slots,
      numLayers: 1,
      // Latents that are written out have keys and values of every head.
      numKvHeads: latent === undefined ? numKvHeads : config.numHeads,
      headDim: config.headDim,
      valueDim: latent?.valueDim ?? config.headDim,
    }).layers;
  });
  return { layers: layers.flat() };
}

/**
 * The weights by which each layer attends to latents: copies of its up projection, cut into keys and values. Undefined for
 * layers without latents, and where the projection is not dense: their latents are written out instead.
 *
 * @returns new tensors that the caller disposes
 */
export function latentWeightsOf(
  config: DecoderConfig,
  { layers }: DecoderWeights,
): readonly (LatentWeights | undefined)[] {
  return layers.map(({ attention }, layer) => {
    const { latent } = layerConfig(config, layer).attention;
    const weight = attention.kvUp?.weight;
    if (latent === undefined || !(weight instanceof Tensor)) return undefined;
    return splitLatentProjection(weight, {
      numHeads: config.numHeads,
      contentDim: config.headDim - latent.ropeDim,
    });
  });
}

/** Memory of a cache, in bytes. */
export function cacheByteLength({ layers }: DecoderCache): number {
  return layers.reduce(
    (sum, layer) => sum + layer.key.byteLength + ("value" in layer ? layer.value.byteLength : 0),
    0,
  );
}
