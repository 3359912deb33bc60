import { type Device, HeddleError, type Tensor, tensor } from "@heddle/tensor";

type Rows = readonly ArrayLike<number>[];

/**
 * Uploads rows of one length as [B, T] i32 (or bool).
 *
 * @param like  what the rows must be as many and as long as. Default: the first row
 * @throws HeddleError "shape" for ragged rows or another shape than `like`
 */
export function tokenGrid(
  device: Device,
  rows: Rows,
  { like = rows, dtype = "i32" }: { readonly like?: Rows; readonly dtype?: "i32" | "bool" } = {},
): Tensor {
  const width = like[0]?.length ?? 0;
  if (rows.length !== like.length || rows.some((row) => row.length !== width)) {
    const got = rows.map((row) => row.length).join(", ");
    const message = `batchInputs: ids and mask must have ${like.length} rows of ${width}; got rows of ${got}. Pad the shorter ones.`;
    throw new HeddleError("shape", message, { rows: rows.map((row) => row.length) });
  }
  const flat = rows.flatMap((row) => Array.from(row));
  const data = dtype === "bool" ? Uint8Array.from(flat) : Int32Array.from(flat);
  return tensor(device, data, { shape: [like.length, width], dtype });
}

/** @throws HeddleError "config" for no rows, and for an id that is not a whole number below `limit` */
export function checkIds(rows: Rows, limit: number): void {
  if (rows.length === 0) {
    const message =
      "batchInputs: there must be at least one row of ids; got none. Pass [[1, 2, 3]], for example.";
    throw new HeddleError("config", message, {});
  }
  for (const [row, ids] of rows.entries()) {
    const at = Array.from(ids).findIndex((id) => !Number.isInteger(id) || id < 0 || id >= limit);
    if (at >= 0) {
      const message = `batchInputs: ids must be whole numbers below ${limit}; got ${ids[at]} at [${row}, ${at}]. Use the tokenizer of this model.`;
      throw new HeddleError("config", message, { row, at, id: ids[at], vocabSize: limit });
    }
  }
}

/** @throws HeddleError "capacity" for rows longer than a table of positions */
export function checkLength(rows: Rows, maxSeqLen: number): void {
  const length = rows[0]?.length ?? 0;
  if (length <= maxSeqLen) return;
  const message = `batchInputs: rows must not pass the learned positions; got ${length} tokens, the model has ${maxSeqLen}. Shorten the text.`;
  throw new HeddleError("capacity", message, { length, maxSeqLen });
}
