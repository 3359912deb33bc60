import { allOf, causal, padding } from "@heddle/attention";
import { type Device, disposeTree, scope, type Tensor } from "@heddle/tensor";
import { fullAttend } from "../blocks/attend.js";
import type { DecoderConfig } from "../config.js";
import { checkIds, checkLength, tokenGrid } from "../token-grid.js";
import type { DecoderInputs } from "./decoder.js";
import { spanInputs } from "./span.js";

/**
 * Makes the inputs of one forward pass from rows of ids, padded on either side.
 *
 * Positions count the tokens of a row that are not padding, so a padded row gives the logits of the row alone.
 * @param model          the model that will run them
 * @param rows           ids, all rows of one length
 * @param attentionMask  1 for tokens, 0 for padding. Default: no padding
 * @returns inputs whose tensors the caller disposes, `dispose` frees them
 * @throws HeddleError "shape" for ragged rows or a mask of another shape, "config" for ids outside of the vocabulary,
 *   and for rows without a span of a model that fills them, "capacity" for rows longer than the model's learned positions
 */
export function batchInputs(
  { device, config }: { readonly device: Device; readonly config: DecoderConfig },
  rows: readonly ArrayLike<number>[],
  attentionMask?: readonly ArrayLike<number>[],
): DecoderInputs & { readonly ids: Tensor; dispose(): void } {
  checkIds(rows, config.vocabSize);
  if (config.positions.kind === "learned") checkLength(rows, config.maxSeqLen);
  if (config.span !== undefined) return spanInputs({ device, span: config.span }, rows, attentionMask);
  if (attentionMask === undefined) {
    const ids = tokenGrid(device, rows);
    return { ids, dispose: () => ids.dispose() };
  }
  const { ids, positions, seen_BS } = scope(device, () => ({
    ids: tokenGrid(device, rows),
    positions: tokenGrid(device, attentionMask.map(countTokens), { like: rows }),
    seen_BS: tokenGrid(device, attentionMask, { like: rows, dtype: "bool" }),
  }));
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
