import { defineOp, HeddleError, isFloat, type Op, scope, type Tensor, type TensorType } from "@heddle/tensor";
import { type AppendParams, splitInputs } from "./append-params.js";
import { cellOf, hasRoom, type Placement, placementExtents } from "./cache-placement.js";
import { appendRowsWasm } from "./kernels/append-rows.wasm.js";
import { appendPiece, appendRowsWgsl } from "./kernels/append-rows.wgsl.js";

/** Where the rows of a batch live in a cache. Both are tensors, so that one compiled step serves every batch. */
export interface CacheRows {
  /** Slot of each batch row, int32 [B]. Rows may share a slot if their positions differ. */
  readonly slots: Tensor;
  /** Position of each row's first new token, int32 [B]. */
  readonly starts: Tensor;
}

/** What is stored of a token: keys and values, or keys alone. */
export interface StoredPair {
  readonly key: Tensor;
  readonly value?: Tensor | undefined;
}

/**
 * Writes new rows into stores of keys and values, in place: what `appendKv` does for a store of one's own.
 *
 * Shapes: stores [X, G, Y, width], X slots (or pages) of Y positions; fresh [B, G, T, width], slots and starts [B] int32, table
 * [slots, pages of a slot] int32 where pages are used. Floats of another dtype than the store's are rounded to it. Rows outside
 * of the store are not written. Not differentiable.
 * @returns nothing: the stores change
 * @throws HeddleError "shape" or "dtype" if the rows do not fit the stores
 * @see Pope et al. 2022, arXiv:2211.05102, section 3; Kwon et al. 2023, PagedAttention, arXiv:2309.06180, section 4 (block tables)
 */
export function appendRows(
  stores: StoredPair,
  fresh: StoredPair,
  at: CacheRows & { readonly placement: Placement; readonly table?: Tensor | undefined },
): void {
  const { slots, starts, placement, table } = at;
  const rounded = (x: Tensor, { dtype }: Tensor) =>
    x.dtype === dtype || !isFloat(x.dtype) ? x : x.cast(dtype);
  const last = table === undefined ? [] : [table];
  scope(slots.device, () => {
    const key = rounded(fresh.key, stores.key);
    if (stores.value === undefined || fresh.value === undefined) {
      return appendOneOp.apply([stores.key, key, slots, starts, ...last], { placement, stores: 1 });
    }
    const value = rounded(fresh.value, stores.value);
    const inputs = [stores.key, stores.value, key, value, slots, starts, ...last];
    return appendTwoOp.apply(inputs, { placement, stores: 2 });
  });
}

const appendOneOp = appendOp(1);
const appendTwoOp = appendOp(2);

function appendOp(count: 1 | 2): Op<AppendParams> {
  return defineOp({
    name: "appendKv",
    mutates: count === 1 ? [0] : [0, 1],
    infer(inputs, params) {
      checkAppend(inputs, params);
      return [];
    },
    evaluate(inputs, _, { placement, stores }) {
      const { pairs, slots, starts, table } = splitInputs(inputs, stores);
      for (const { store, fresh } of pairs) {
        const extents = placementExtents(placement, store, table);
        const [, numKvHeads = 0, , width = 0] = store.shape;
        const [batch = 0, , length = 0] = fresh.shape;
        const cell = (row: number, token: number) =>
          cellOf(extents, {
            slot: slots.data[row] ?? -1,
            position: (starts.data[row] ?? -1) + token,
            table: table?.data ?? [],
          });
        for (let row = 0; row < batch; row++) {
          if (!hasRoom(extents, { slot: slots.data[row] ?? -1, start: starts.data[row] ?? -1, length }))
            continue;
          for (let token = 0; token < length; token++) {
            const target = cell(row, token);
            if (target === undefined) continue;
            for (let head = 0; head < numKvHeads; head++) {
              const from = ((row * numKvHeads + head) * length + token) * width;
              const to = ((target.block * numKvHeads + head) * extents.blockRows + target.row) * width;
              store.data.set(fresh.data.subarray(from, from + width), to);
            }
          }
        }
      }
    },
    kernels: { wasm: appendRowsWasm, wgsl: appendRowsWgsl, pieces: { placement: appendPiece } },
  });
}

function checkAppend(inputs: readonly TensorType[], { placement, stores }: AppendParams): void {
  const { pairs, slots, starts, table } = splitInputs(inputs, stores);
  const first = pairs[0]?.fresh.shape ?? [];
  for (const [index, { store, fresh }] of pairs.entries()) {
    const name = index === 0 ? "key" : "value";
    const [, numKvHeads, , width] = store.shape;
    const [batch, heads, length = 0, freshWidth] = fresh.shape;
    const { maxSeqLen, blockRows } = placementExtents(placement, store, table);
    const most = placement === "ring" ? blockRows : maxSeqLen;
    const fits =
      fresh.shape.length === 4 &&
      heads === numKvHeads &&
      freshWidth === width &&
      length <= most &&
      batch === first[0] &&
      length === first[2];
    if (!fits) {
      throw new HeddleError(
        "shape",
        `appendKv: ${name} must be [batch, ${numKvHeads}, length <= ${most}, ${width}] to fit the cache; got ${name} [${fresh.shape.join(", ")}]. Create the cache with the model's numKvHeads and headDim.`,
        { [name]: fresh.shape, cache: store.shape },
      );
    }
    if (!isFloat(fresh.dtype)) {
      throw new HeddleError(
        "dtype",
        `appendKv: ${name} must be a float; got ${fresh.dtype}. Cast it to ${store.dtype} first.`,
        { [name]: fresh.dtype, cache: store.dtype },
      );
    }
  }
  checkRowTypes("appendKv", { slots, starts }, first[0] ?? 0);
}

/** Checks that slots and starts are int32 [B]. */
export function checkRowTypes(
  caller: string,
  rows: { readonly slots: TensorType; readonly starts: TensorType },
  batch: number,
): void {
  for (const [name, { shape, dtype }] of Object.entries(rows)) {
    if (shape.length === 1 && shape[0] === batch && dtype === "i32") continue;
    throw new HeddleError(
      dtype === "i32" ? "shape" : "dtype",
      `${caller}: ${name} must be i32 [${batch}], one number per batch row; got ${name} ${dtype}[${shape.join(", ")}]. Create it from an Int32Array of length ${batch}.`,
      { [name]: shape, dtype },
    );
  }
}
