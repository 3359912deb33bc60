import { scope, type Tensor } from "@heddle/tensor";
import { type Alignment, alignmentOf, relativePositions, relativeShift } from "./alignment.js";
import { checkShape } from "./check.js";
import type { ScoresEncoding } from "./position-encoding.js";
import { sinusoidalTable } from "./sinusoidal.js";

/** What Transformer-XL learns of positions. */
export interface TransformerXlWeights {
  /** u: what every query asks of contents, [H, D]. */
  readonly contentBias: Tensor;
  /** v: what every query asks of distances, [H, D]. */
  readonly positionBias: Tensor;
  /** W_kR: makes keys of the sinusoids of distances, [H, D, E]. */
  readonly keyProjection: Tensor;
}

/**
 * Scores keys by content and by distance: a[i, j] = ((q_i + u) k_j + (q_i + v) W_kR R_(i - j)) / sqrt(D), the q k part by attention.
 *
 * Shapes: query [B, H, T, D], key [B, H, S, D] -> [B, H, T, S]. The S keys are those of the cached segment, then the new ones:
 * segment recurrence needs nothing but S > T. Distances are sinusoids [sin | cos] of E features. Differentiable in all.
 * @param options.base  longest wavelength / 2 pi, unitless. Default 10 000
 * @returns an encoding of kind "scores" that borrows the weights
 * @throws HeddleError "shape" if weights and heads do not fit
 * @see Dai et al. 2019, Transformer-XL, arXiv:1901.02860, equation 5 and appendix B. Departures: none
 */
export function transformerXl(
  weights: TransformerXlWeights,
  options: { readonly base?: number } = {},
): ScoresEncoding {
  const { contentBias, positionBias, keyProjection } = weights;
  checkShape("transformerXl", { keyProjection }, ["H", "D", "E"]);
  const [H = 1, D = 1, modelDim = 1] = keyProjection.shape;
  checkShape("transformerXl", { contentBias, positionBias }, [H, D]);
  return {
    kind: "scores",
    scale: inverseRoot,
    scores: (query, key, alignment) => {
      checkShape("transformerXl", { query, key }, ["B", H, "seq", D]);
      return scope(query.device, () => {
        const distances = distancesOf("transformerXl", alignment);
        const table = sinusoidalTable(query.device, distances, { ...options, modelDim, layout: "concat" });
        const relativeKeys = table.cast(query.dtype).matmul(keyProjection, { transposeB: true }); // [H, N, D]
        const content = biasScores(contentBias, key);
        return content.add(positionScores(query.add(rowOf(positionBias)), relativeKeys)).mul(inverseRoot(D));
      });
    },
  };
}

/** 1 / sqrt(D): what most encodings scale products by. */
export function inverseRoot(headDim: number): number {
  return 1 / Math.sqrt(headDim);
}

/** Distances (query minus key) of the columns that `relativeShift` takes, descending. */
export function distancesOf(caller: string, alignment: Alignment): number[] {
  return relativePositions(alignmentOf(caller, alignment)).map((n) => -n);
}

/** [H, D] -> [H, 1, D]: one row per head, for every query. */
export function rowOf(vectors: Tensor): Tensor {
  const [H = 1, D = 1] = vectors.shape;
  return vectors.reshape([H, 1, D]);
}

/** u k_j for one vector u a head: bias [H, D], key [B, H, S, D] -> [B, H, 1, S]. */
export function biasScores(bias: Tensor, key: Tensor): Tensor {
  return scope(key.device, () => key.mul(rowOf(bias)).sum({ axes: 3 }).expandDims(2));
}

/** q_i r_(i - j): query [B, H, T, D], relativeKeys [.., H or 1, T + S - 1, D] by descending distance -> [B, H, T, S]. */
export function positionScores(query: Tensor, relativeKeys: Tensor): Tensor {
  return scope(query.device, () => relativeShift(query.matmul(relativeKeys, { transposeB: true })));
}
