import { HeddleError, scope, type Tensor } from "@heddle/tensor";
import { alignmentOf } from "./alignment.js";
import { checkShape } from "./check.js";
import type { ScoresEncoding } from "./position-encoding.js";
import { biasScores, distancesOf, inverseRoot, positionScores, rowOf } from "./transformer-xl.js";

/** What XLNet learns of contents, distances and segments. */
export interface XlnetWeights {
  /** r_w_bias, [H, D]. */
  readonly contentBias: Tensor;
  /** r_r_bias, [H, D]. */
  readonly positionBias: Tensor;
  /** r_s_bias, [H, D]. */
  readonly segmentBias: Tensor;
  /** seg_embed: what a key of the same (row 0) or of another segment (row 1) answers, [2, H, D]. */
  readonly segmentEmbedding: Tensor;
}

/** What XLNet reads beside queries and keys, for one text. */
export interface XlnetInput {
  /** Projected keys of distances, [H, N, D] or [B, H, N, D], by descending distance (query minus key). */
  readonly relativeKeys: Tensor;
  /** Distance of row 0 of relativeKeys, in tokens. Default S, as XLNet lays its table out. */
  readonly firstDistance?: number;
  /** 1 where query and key are of different segments, 0 where of one, [B or 1, T, S]. Default: no segment term. */
  readonly isOtherSegment?: Tensor;
}

/**
 * Scores keys by content, distance and segment: ((q_i + b_w) k_j + (q_i + b_r) r_(i - j) + (q_i + b_s) e_(same or other)) / sqrt(D).
 *
 * Shapes: query [B, H, T, D], key [B, H, S, D] -> [B, H, T, S]. Differentiable in all float tensors. The q k part is attention's.
 * @returns an encoding of kind "scores" that borrows weights and input; make one per text
 * @throws HeddleError "shape" if the tensors do not fit, "capacity" if relativeKeys lacks a distance that occurs
 * @see Yang et al. 2019, XLNet, arXiv:1906.08237, sections 2.4 and 2.5. Differs from the release: axes are [B, H, T, D]
 */
export function xlnet(weights: XlnetWeights, input: XlnetInput): ScoresEncoding {
  const { contentBias, positionBias, segmentBias, segmentEmbedding } = weights;
  checkShape("xlnet", { contentBias }, ["H", "D"]);
  const [H = 1, D = 1] = contentBias.shape;
  checkShape("xlnet", { positionBias, segmentBias }, [H, D]);
  checkShape("xlnet", { segmentEmbedding }, [2, H, D]);
  checkShape("xlnet", { relativeKeys: input.relativeKeys }, [
    ...(input.relativeKeys.rank === 4 ? ["B"] : []),
    H,
    "N",
    D,
  ]);
  return {
    kind: "scores",
    scale: inverseRoot,
    scores: (query, key, alignment) => {
      checkShape("xlnet", { query, key }, ["B", H, "seq", D]);
      return scope(query.device, () => {
        const distances = distancesOf("xlnet", alignment);
        const { keyLen } = alignmentOf("xlnet", alignment);
        const relativeKeys = rowsOf(input, distances, keyLen);
        const position = positionScores(query.add(rowOf(positionBias)), relativeKeys);
        const terms = biasScores(contentBias, key).add(position);
        if (input.isOtherSegment === undefined) return terms.mul(inverseRoot(D));
        const asked = query.add(rowOf(segmentBias)); // [B, H, T, D]
        const answers = segmentEmbedding.transpose([1, 2, 0]); // [H, D, 2]
        const segment = asked.matmul(answers); // [B, H, T, 2]
        const other = input.isOtherSegment.cast(query.dtype).expandDims(1); // [B, 1, T, S]
        const same = segment.narrow(3, 0, 1);
        return terms.add(same.add(segment.narrow(3, 1, 2).sub(same).mul(other))).mul(inverseRoot(D));
      });
    },
  };
}

/** The rows of relativeKeys that belong to the given descending distances. */
function rowsOf({ relativeKeys, firstDistance }: XlnetInput, distances: number[], keyLen: number): Tensor {
  const rows = relativeKeys.shape.at(-2) ?? 0;
  const first = (firstDistance ?? keyLen) - (distances[0] ?? 0);
  if (first < 0 || first + distances.length > rows) {
    throw new HeddleError(
      "capacity",
      `xlnet: relativeKeys must hold every distance from ${distances[0]} down to ${distances.at(-1)}; got ${rows} rows from distance ${firstDistance ?? keyLen}. Project a longer table.`,
      { rows, firstDistance: firstDistance ?? keyLen, distances: distances.length },
    );
  }
  return relativeKeys.narrow(relativeKeys.rank - 2, first, first + distances.length);
}
