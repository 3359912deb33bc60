import { allOf, causal, padding } from "@heddle/attention";
import { type Device, disposeTree, HeddleError, type Tensor, tensor } from "@heddle/tensor";
import { fullAttend } from "./attend.js";
import type { DecoderConfig } from "./config.js";
import type { DecoderInputs } from "./decoder.js";

/**
 * Makes the inputs of one forward pass from rows of ids, padded on either side.
 *
 * Positions count the tokens of a row that are not padding, so a padded row gives the logits of the row alone.
 * @param model          the model that will run them
 * @param rows           ids, all rows of one length
 * @param attentionMask  1 for tokens, 0 for padding. Default: no padding
 * @returns inputs whose tensors the caller disposes, `dispose` frees them
 * @throws HeddleError "shape" for ragged rows or a mask of another shape, "config" for ids outside of the vocabulary,
 *   "capacity" for rows longer than the model's learned positions
 */
export function batchInputs(
  { device, config }: { readonly device: Device; readonly config: DecoderConfig },
  rows: readonly ArrayLike<number>[],
  attentionMask?: readonly ArrayLike<number>[],
): DecoderInputs & { readonly ids: Tensor; dispose(): void } {
  checkIds(config, rows);
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

function checkIds(
  { vocabSize, maxSeqLen, positions }: DecoderConfig,
  rows: readonly ArrayLike<number>[],
): void {
  for (const [row, ids] of rows.entries()) {
    const at = Array.from(ids).findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (at >= 0) {
      const message = `batchInputs: ids must be whole numbers below ${vocabSize}; got ${ids[at]} at [${row}, ${at}]. Use the tokenizer of this model.`;
      throw new HeddleError("config", message, { row, at, id: ids[at], vocabSize });
    }
    if (positions.kind === "learned" && ids.length > maxSeqLen) {
      const message = `batchInputs: rows must not pass the learned positions; got ${ids.length} tokens, the model has ${maxSeqLen}. Shorten the text.`;
      throw new HeddleError("capacity", message, { length: ids.length, maxSeqLen });
    }
  }
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
