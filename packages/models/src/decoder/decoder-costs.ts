import type { ModelCosts } from "../architecture.js";
import { type DecoderConfig, layerConfig } from "../config.js";

/** What a decoder costs a token: parameters that take part, floating-point operations, and memory of keys and values. */
export function decoderCosts(
  config: DecoderConfig,
  shapes: ReadonlyMap<string, readonly number[]>,
): ModelCosts {
  let activeParameters = 0;
  let matrixParameters = 0;
  for (const [path, shape] of shapes) {
    const active = activeShare(config, path) * shape.reduce((size, extent) => size * extent, 1);
    activeParameters += active;
    // A table is read by row; the unembedding, tied or not, is a product.
    const isTable = path === "positionEmbedding" || (path === "embedding" && !config.tieEmbeddings);
    if (shape.length > 1 && !isTable) matrixParameters += active;
  }
  const layers = Array.from({ length: config.numLayers }, (_, layer) => layerCosts(config, layer));
  return {
    activeParameters,
    flopsPerToken: 2 * matrixParameters,
    attentionFlopsPerPosition: sum(layers.map(({ flops }) => flops)),
    kvBytesPerToken: sum(layers.map(({ kept }) => 2 * kept)),
  };
}

/** The part of an expert weight that one token uses. */
function activeShare(config: DecoderConfig, path: string): number {
  const [, layer] = /^layers\.(\d+)\.experts\.(?:gate|up|down)\./.exec(path) ?? [];
  const experts = layer === undefined ? undefined : layerConfig(config, Number(layer)).mlp.experts;
  return experts === undefined ? 1 : experts.topK / experts.numExperts;
}

/** Numbers that a layer keeps of a token, and operations of one query on one kept position. */
function layerCosts(config: DecoderConfig, layer: number): { readonly kept: number; readonly flops: number } {
  const { numKvHeads, attention } = layerConfig(config, layer);
  const { numHeads, headDim } = config;
  const { latent } = attention;
  if (latent === undefined) return { kept: 2 * numKvHeads * headDim, flops: 4 * numHeads * headDim };
  const kept = latent.kvRank + latent.ropeDim;
  return { kept, flops: 2 * numHeads * (kept + latent.kvRank) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
