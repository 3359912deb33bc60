import { allOf, causal, padding } from "@heddle/attention";
import { type Device, disposeTree, HeddleError, type Tensor, tensor } from "@heddle/tensor";
import { fullAttend } from "./attend.js";
import type { DecoderInputs } from "./decoder.js";

/**
 * Makes the inputs of one forward pass from rows of ids, padded on either side.
 *
 * Positions count the tokens of a row that are not padding, so a padded row gives the logits of the row alone.
 * @param rows           ids, all rows of one length
 * @param attentionMask  1 for tokens, 0 for padding. Default: no padding
 * @returns inputs whose tensors the caller disposes, `dispose` frees them
 * @throws HeddleError "shape" for ragged rows or a mask of another shape
 */
export function batchInputs(
  device: Device,
  rows: readonly ArrayLike<number>[],
  attentionMask?: readonly ArrayLike<number>[],
): DecoderInputs & { readonly ids: Tensor; dispose(): void } {
  const ids = grid(device, rows, rows);
  if (attentionMask === undefined) return { ids, dispose: () => ids.dispose() };
  const positions = grid(device, attentionMask.map(countTokens), rows);
  const seen_BS = tensor(device, Uint8Array.from(attentionMask.flatMap((row) => Array.from(row))), {
    shape: ids.shape,
    dtype: "bool",
  });
  const attend = fullAttend({ mask: allOf(causal(), padding(seen_BS)) });
  return { ids, positions, attend, dispose: () => disposeTree([ids, positions, seen_BS]) };
}

/** Position of each token among those that are not padding; padding gets a neighbour's. */
function countTokens(mask: ArrayLike<number>): number[] {
  let count = 0;
  return Array.from(mask, (kept) => {
    if (kept !== 0) count++;
    return Math.max(count - 1, 0);
  });
}

function grid(
  device: Device,
  rows: readonly ArrayLike<number>[],
  like: readonly ArrayLike<number>[],
): Tensor {
  const width = like[0]?.length ?? 0;
  if (rows.length !== like.length || rows.some((row) => row.length !== width)) {
    const got = rows.map((row) => row.length).join(", ");
    const message = `batchInputs: ids and mask must have ${like.length} rows of ${width}; got rows of ${got}. Pad the shorter ones.`;
    throw new HeddleError("shape", message, { rows: rows.map((row) => row.length) });
  }
  const flat = Int32Array.from(rows.flatMap((row) => Array.from(row)));
  return tensor(device, flat, { shape: [like.length, width] });
}
