import { HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import { checkCount } from "./check.js";
import type { BiasEncoding } from "./position-encoding.js";

/**
 * Tabulates a bias that depends on distance alone, by how many tokens the key lies before the query: what attention over a
 * cache reads (`distanceBias`), whatever the positions.
 *
 * Shapes: -> [H, numDistances], element [h, n] for a key n tokens before the query. For ALiBi, T5, KERPLE, Sandwich and dynamic
 * position bias; FIRE also depends on the query's position and has no such table. Differentiable in the encoding's weights.
 * @param numDistances  one more than the longest distance, in tokens: the cache's maxSeqLen, or a window
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "config" if numDistances is no count, "unsupported" if the bias depends on more than distance
 * @see the source that each encoding names; the table is its last row of biases, nearest key first
 */
export function distanceTable(encoding: BiasEncoding, numDistances: number): Tensor {
  checkCount("distanceTable", "numDistances", numDistances);
  checkDistance("distanceTable", encoding);
  return lastRow(encoding, { keyLen: numDistances, queryStart: numDistances - 1 });
}

/**
 * Tabulates a bias that depends on distance alone for all pairs of T queries and S keys that end together: what `attention`
 * takes as `distanceBias`, in memory linear in length where the encoding's own `bias` is a matrix.
 *
 * Shapes: -> [H, T + S - 1], column c for a key c - (T - 1) tokens before its query; keys after the query come first.
 * Differentiable in the encoding's weights.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "config" if a length is no count, "unsupported" if the bias depends on more than distance
 * @see the source that each encoding names
 */
export function distanceRow(
  encoding: BiasEncoding,
  { queryLen, keyLen }: { readonly queryLen: number; readonly keyLen: number },
): Tensor {
  checkCount("distanceRow", "queryLen", queryLen);
  checkCount("distanceRow", "keyLen", keyLen);
  checkDistance("distanceRow", encoding);
  return lastRow(encoding, { keyLen: queryLen + keyLen - 1, queryStart: keyLen - 1 });
}

function checkDistance(caller: string, { dependsOn }: BiasEncoding): void {
  if (dependsOn !== "positions") return;
  throw new HeddleError(
    "unsupported",
    `${caller}: the bias must depend on distance alone; got one that depends on the query's position. Pass its bias as a matrix.`,
    {},
  );
}

/** The biases of one query, last key first: [H, keyLen]. */
function lastRow(
  encoding: BiasEncoding,
  { keyLen, queryStart }: { readonly keyLen: number; readonly queryStart: number },
): Tensor {
  using row = encoding.bias({ queryLen: 1, keyLen, queryStart });
  const { device } = row;
  return scope(device, () => {
    const backwards = Int32Array.from({ length: keyLen }, (_, n) => keyLen - 1 - n);
    const heads = row.shape[1] ?? 1;
    return row.reshape([heads, keyLen]).take(tensor(device, backwards), { axis: 1 });
  });
}
