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
  if (encoding.dependsOn === "positions") {
    throw new HeddleError(
      "unsupported",
      "distanceTable: the bias must depend on distance alone; got one that depends on the query's position. Pass its bias as a matrix.",
      {},
    );
  }
  using row = encoding.bias({ queryLen: 1, keyLen: numDistances });
  const { device } = row;
  return scope(device, () => {
    const nearestFirst = Int32Array.from({ length: numDistances }, (_, n) => numDistances - 1 - n);
    const heads = row.shape[1] ?? 1;
    return row.reshape([heads, numDistances]).take(tensor(device, nearestFirst), { axis: 1 });
  });
}
