import { HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import { type Alignment, alignmentOf, relativePositions, relativeUnshift } from "./alignment.js";
import { checkShape } from "./check.js";
import type { ScoresEncoding } from "./position-encoding.js";
import { inverseRoot, positionScores } from "./transformer-xl.js";

/**
 * Scores queries against a learned vector per clipped distance: q_i a_clip(j - i, -k, k) / sqrt(D), beside q_i k_j / sqrt(D).
 *
 * Shapes: relativeKeys [2k + 1, D], row r for relative position r - k; query [B, H, T, D], key [B, H, S, D] -> [B, H, T, S].
 * Differentiable in query and relativeKeys.
 * @returns an encoding of kind "scores" that borrows relativeKeys
 * @throws HeddleError "shape" if relativeKeys is no matrix of an odd number of rows and D columns
 * @see Shaw et al. 2018, arXiv:1803.02155, equation 4. The value part (equation 3) is `shawValues`. Departures: none
 */
export function shaw(relativeKeys: Tensor): ScoresEncoding {
  checkTable("shaw", relativeKeys);
  return {
    kind: "scores",
    scale: inverseRoot,
    scores: (query, _key, alignment) => {
      checkShape("shaw", { query }, ["B", "H", "T", relativeKeys.shape[1] ?? 0]);
      return scope(query.device, () =>
        positionScores(query, rowsByDistance("shaw", relativeKeys, alignment)).mul(
          inverseRoot(query.shape[3] ?? 1),
        ),
      );
    },
  };
}

/**
 * Adds up the learned vectors of the distances that were attended to: z[i] = sum_j probs[i, j] a_clip(j - i, -k, k).
 *
 * Shapes: probs [B, H, T, S], relativeValues [2k + 1, D] -> [B, H, T, D], to be added to attention's output. Differentiable in both.
 * @param options.queryStart  position of query 0, in tokens. Default S - T
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" as `shaw`
 * @see Shaw et al. 2018, arXiv:1803.02155, equation 3. Departures: none
 */
export function shawValues(
  probs: Tensor,
  relativeValues: Tensor,
  options: { readonly queryStart?: number } = {},
): Tensor {
  checkTable("shawValues", relativeValues);
  checkShape("shawValues", { probs }, ["B", "H", "T", "S"]);
  const [, , queryLen = 1, keyLen = 1] = probs.shape;
  return scope(probs.device, () => {
    const rows = rowsByDistance("shawValues", relativeValues, { queryLen, keyLen, ...options });
    return relativeUnshift(probs).matmul(rows);
  });
}

/** The vector of every relative position that occurs, ascending: [T + S - 1, D]. */
function rowsByDistance(caller: string, table: Tensor, alignment: Alignment): Tensor {
  const k = ((table.shape[0] ?? 1) - 1) / 2;
  const rows = relativePositions(alignmentOf(caller, alignment)).map((n) => Math.min(k, Math.max(-k, n)) + k);
  return table.take(tensor(table.device, Int32Array.from(rows)));
}

function checkTable(caller: string, table: Tensor): void {
  if (table.rank === 2 && (table.shape[0] ?? 0) % 2 === 1) return;
  throw new HeddleError(
    "shape",
    `${caller}: the table must be [2k + 1, D], a row for each relative position -k..k; got table [${table.shape.join(", ")}]. Check the clipping distance k.`,
    { table: table.shape },
  );
}
