import { HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import { alignmentOf, relativePositions } from "./alignment.js";
import { checkCount, checkShape } from "./check.js";
import type { ScoresEncoding } from "./position-encoding.js";
import { positionScores } from "./transformer-xl.js";

/** What DeBERTa learns of relative positions; at least one of the two. */
export interface DebertaWeights {
  /** K_r, projected keys of relative positions, [H, 2k, D]. Absent: no content-to-position term. */
  readonly relativeKeys?: Tensor;
  /** Q_r, projected queries of relative positions, [H, 2k, D]. Absent: no position-to-content term. */
  readonly relativeQueries?: Tensor;
}

/** How DeBERTa finds the row of a distance. */
export interface DebertaOptions {
  /** v2 and v3: distances beyond k / 2 share logarithmic buckets up to this many tokens. Default: none, one row each (v1). */
  readonly maxDistance?: number;
  /** Row of Q_r: the paper's delta(j, i), or delta(i, j) as the released checkpoints were trained. Default "paper". */
  readonly positionToContent?: "paper" | "released";
}

/**
 * Finds the row of a distance: delta = clamp(i - j + k, 0, 2k - 1), with v2's logarithmic buckets where maxDistance is given.
 *
 * @param distance  query minus key, in tokens
 * @param options.span  k, half the number of rows
 * @returns a row of a table [2k, D], a whole number 0..2k-1
 * @throws HeddleError "config" if span is no count, or with buckets odd, below 4 or not below maxDistance
 * @see He et al. 2020, DeBERTa, arXiv:2006.03654, equation 3. Buckets: `make_log_bucket_position` of the release (v2)
 */
export function debertaRow(
  distance: number,
  options: { readonly span: number; readonly maxDistance?: number },
): number {
  const { span, maxDistance } = options;
  checkCount("debertaRow", "span", span);
  const bucket = maxDistance === undefined ? distance : logBucket(distance, span, maxDistance);
  return Math.min(2 * span - 1, Math.max(0, bucket + span));
}

function logBucket(distance: number, span: number, maxDistance: number): number {
  if (span < 4 || span % 2 !== 0 || !(maxDistance > span)) {
    throw new HeddleError(
      "config",
      `debertaRow: buckets need an even span of at least 4, below maxDistance; got span ${span}, maxDistance ${maxDistance}. DeBERTa v2 has 256 and 512.`,
      { span, maxDistance },
    );
  }
  const middle = span / 2;
  const far = Math.abs(distance);
  if (far <= middle) return distance;
  const octave = Math.log(far / middle) / Math.log((maxDistance - 1) / middle);
  return Math.sign(distance) * (middle + Math.ceil(octave * (middle - 1) - 1e-9));
}

/**
 * Scores contents against positions: (q_i K_r[delta(i, j)] + k_j Q_r[delta(j, i)]) / sqrt(3 D), beside q_i k_j / sqrt(3 D).
 *
 * Shapes: query [B, H, T, D], key [B, H, S, D] -> [B, H, T, S]. Differentiable in all. With one of the two terms the 3 is a 2.
 * @returns an encoding of kind "scores" that borrows the weights
 * @throws HeddleError "config" if neither term has weights, "shape" if weights and heads do not fit
 * @see He et al. 2020, DeBERTa, arXiv:2006.03654, equations 2 to 4; v2 and v3: He et al. 2021, arXiv:2111.09543
 * Departures: positionToContent "released"
 */
export function deberta(weights: DebertaWeights, options: DebertaOptions = {}): ScoresEncoding {
  const named = Object.entries(weights).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  const [first] = named;
  if (first === undefined) {
    throw new HeddleError(
      "config",
      "deberta: at least one of relativeKeys and relativeQueries is needed; got neither. Use noPositions() for content alone.",
    );
  }
  const { maxDistance, positionToContent = "paper" } = options;
  const [H = 1, rows = 2, D = 1] = first[1].shape;
  checkShape("deberta", Object.fromEntries(named), ["H", rows, "D"]);
  const span = Math.floor(rows / 2);
  const scale = (headDim: number) => 1 / Math.sqrt((named.length + 1) * headDim);
  return {
    kind: "scores",
    scale,
    scores: (query, key, alignment) => {
      checkShape("deberta", { query, key }, ["B", H, "seq", D]);
      const distances = relativePositions(alignmentOf("deberta", alignment)).map((n) => -n); // i - j, descending
      return scope(query.device, () => {
        const rowsFor = (table: Tensor, order: readonly number[]) => {
          const at = Int32Array.from(order, (distance) => debertaRow(distance, { span, maxDistance }));
          return table.take(tensor(query.device, at), { axis: 1 }); // [H, N, D]
        };
        const { relativeKeys, relativeQueries } = weights;
        const terms: Tensor[] = [];
        if (relativeKeys) terms.push(positionScores(query, rowsFor(relativeKeys, distances)));
        if (relativeQueries) {
          // Rows are keys j here: the column of (j, i) stands for i - j ascending.
          const ascending = distances.toReversed();
          const order = positionToContent === "released" ? ascending : ascending.map((n) => -n);
          terms.push(positionScores(key, rowsFor(relativeQueries, order)).transpose());
        }
        return terms.reduce((sum, term) => sum.add(term)).mul(scale(D));
      });
    },
  };
}
