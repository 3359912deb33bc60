import { type DebertaOptions, deberta } from "@heddle/positional-encodings";
import { invariant, type Tensor } from "@heddle/tensor";
import type { ScoreBias } from "../blocks/attend-bidirectional.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import type { LinearWeights } from "../weights.js";
import type { DisentangledConfig, EncoderConfig } from "./config.js";
import type { EncoderWeights } from "./weights.js";

/** What DeBERTa's scores are multiplied by: they are the sum of content's and one or two terms of position. */
export function disentangledScale({ terms }: Pick<DisentangledConfig, "terms">, headDim: number): number {
  return 1 / Math.sqrt((terms.length + 1) * headDim);
}

/**
 * DeBERTa's position terms of each layer: queries against projected distances, projected distances against keys.
 *
 * Distances are projected once a layer, [2 span, E] -> [H, 2 span, D].
 * @see He et al. 2020, DeBERTa, arXiv:2006.03654, equation 4, with the row order of the released checkpoints
 */
export function disentangledBias(
  { norm, numHeads, headDim, disentangled }: EncoderConfig,
  weights: EncoderWeights,
  setOf: (layer: number) => number,
): ScoreBias | undefined {
  if (disentangled === undefined) return undefined;
  const { relativeEmbedding, relativeNorm } = weights;
  invariant(relativeEmbedding, "disentangled attention has vectors of distances");
  const distances =
    relativeNorm === undefined ? relativeEmbedding : normalize(norm, relativeNorm, relativeEmbedding);
  const options: DebertaOptions = {
    positionToContent: "released",
    ...(disentangled.maxDistance === undefined ? {} : { maxDistance: disentangled.maxDistance }),
  };
  const heads = (linear: LinearWeights | undefined): Tensor => {
    invariant(linear, "the layer projects distances");
    return project(linear, distances).reshape([-1, numHeads, headDim]).transpose([1, 0, 2]);
  };
  const isShared = disentangled.projections === "shared";
  return (layer, { query_BHTD, key_BGTD }) => {
    const own = weights.layers[setOf(layer)];
    const encoding = deberta(
      {
        ...(disentangled.terms.includes("content-to-position")
          ? { relativeKeys: heads(isShared ? own?.attention.key : own?.relativeKey) }
          : {}),
        ...(disentangled.terms.includes("position-to-content")
          ? { relativeQueries: heads(isShared ? own?.attention.query : own?.relativeQuery) }
          : {}),
      },
      options,
    );
    const [queryLen = 0, keyLen = 0] = [query_BHTD.shape[2], key_BGTD.shape[2]];
    return { bias: encoding.scores(query_BHTD, key_BGTD, { queryLen, keyLen }) };
  };
}
