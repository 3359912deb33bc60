import { scope, type Tensor } from "@heddle/tensor";

// A bias of distance alone as a matrix, and back: what compositions do where kernels read the row in place.

/**
 * Spreads a bias by distance over all pairs: y[h, i, j] = table[h, i - j + S - 1].
 *
 * Shapes: table [H or 1, T + S - 1], column c for a key c - (T - 1) tokens before its query, both ending together
 * -> [1, H or 1, T, S]. Only moves memory.
 */
export function spreadByDistance(
  table: Tensor,
  { queryLen, keyLen }: { readonly queryLen: number; readonly keyLen: number },
): Tensor {
  const [heads = 1, columns = 1] = table.shape;
  return scope(table.device, () => {
    // Row j of [S, T] begins at column S - 1 - j: rows one element shorter than the table slide by one each.
    const rows = table.reshape([heads, 1, columns]).broadcastTo([heads, keyLen, columns]);
    if (keyLen === 1) return rows.reshape([1, heads, queryLen, 1]);
    const slid = rows
      .reshape([heads, keyLen * columns])
      .narrow(1, keyLen - 1, keyLen - 1 + keyLen * (columns - 1));
    const byKey = slid.reshape([heads, keyLen, columns - 1]).narrow(2, 0, queryLen);
    return byKey.transpose([0, 2, 1]).reshape([1, heads, queryLen, keyLen]);
  });
}

/**
 * Sums a matrix over the pairs of one distance, the adjoint of `spreadByDistance`: [B, H, T, S] -> [B, H, T + S - 1].
 */
export function sumByDistance(matrix: Tensor): Tensor {
  const [batch = 1, heads = 1, queryLen = 1, keyLen = 1] = matrix.shape;
  const columns = queryLen + keyLen - 1;
  return scope(matrix.device, () => {
    const byKey = matrix.transpose([0, 1, 3, 2]);
    if (keyLen === 1) return byKey.reshape([batch, heads, columns]);
    const none = [0, 0] as const;
    return byKey
      .pad([none, none, none, [0, keyLen - 2]])
      .reshape([batch, heads, keyLen * (columns - 1)])
      .pad([none, none, [keyLen - 1, 1]])
      .reshape([batch, heads, keyLen, columns])
      .sum({ axes: 2 });
  });
}

/** Both biases as one that broadcasts to [B, H, T, S]. */
export function wholeBias(
  { bias, distanceBias }: { readonly bias: Tensor | undefined; readonly distanceBias: Tensor | undefined },
  extents: { readonly queryLen: number; readonly keyLen: number },
): Tensor | undefined {
  const near = distanceBias && spreadByDistance(distanceBias, extents);
  return bias !== undefined && near !== undefined ? bias.add(near) : (bias ?? near);
}
