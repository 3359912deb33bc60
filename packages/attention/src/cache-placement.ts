import { arange, type Tensor, type TensorType, take } from "@heddle/tensor";

/**
 * Where the rows of a sequence lie in a store [X, G, Y, width]: X blocks of Y rows for each kv head.
 *
 * - `contiguous`: slot s is block s, position p its row p.
 * - `ring`: slot s is block s, position p its row p mod Y: the last Y positions are there.
 * - `paged`: position p of slot s is row p mod Y of block table[s, floor(p / Y)]; a negative entry is no page.
 */
export type Placement = "contiguous" | "ring" | "paged";

/** What a cell is looked up in. Extents are those of the store, and of the table [numSlots, pages of a slot]. */
export interface PlacementExtents {
  readonly placement: Placement;
  readonly numSlots: number;
  /** Positions that a slot can have; unbounded for a ring. */
  readonly maxSeqLen: number;
  /** Rows of a block. */
  readonly blockRows: number;
}

export function placementExtents(
  placement: Placement,
  store: Pick<TensorType, "shape">,
  table: Pick<TensorType, "shape"> | undefined,
): PlacementExtents {
  const [blocks = 0, , blockRows = 0] = store.shape;
  const [tableSlots = 0, pages = 0] = table?.shape ?? [];
  switch (placement) {
    case "contiguous":
      return { placement, numSlots: blocks, maxSeqLen: blockRows, blockRows };
    case "ring":
      return { placement, numSlots: blocks, maxSeqLen: 2 ** 30, blockRows };
    case "paged":
      return { placement, numSlots: tableSlots, maxSeqLen: pages * blockRows, blockRows };
    default:
      return placement satisfies never;
  }
}

/** Whether a slot exists and all of `length` tokens from `start` may have places in it. */
export function hasRoom(
  { numSlots, maxSeqLen }: PlacementExtents,
  { slot, start, length }: { readonly slot: number; readonly start: number; readonly length: number },
): boolean {
  return slot >= 0 && slot < numSlots && start >= 0 && start + length <= maxSeqLen;
}

/** Block and row of a position, or undefined where it has no place. Twin of the arithmetic in kernels/cache-view.ts. */
export function cellOf(
  { placement, numSlots, maxSeqLen, blockRows }: PlacementExtents,
  {
    slot,
    position,
    table,
  }: { readonly slot: number; readonly position: number; readonly table?: ArrayLike<number> },
): { readonly block: number; readonly row: number } | undefined {
  if (slot < 0 || slot >= numSlots || position < 0 || position >= maxSeqLen) return undefined;
  const page = Math.floor(position / blockRows);
  const row = position - page * blockRows;
  if (placement !== "paged") return { block: slot, row };
  const block = table?.[slot * (maxSeqLen / blockRows) + page] ?? -1;
  return block < 0 ? undefined : { block, row };
}

/**
 * Gathers stored rows by position: [B, n] positions of slots [B] -> [B, G, n, width]; zeros where there is no place.
 */
export function gatherRows(
  store: Tensor,
  {
    placement,
    slots,
    positions,
    table,
  }: {
    readonly placement: Placement;
    readonly slots: Tensor;
    readonly positions: Tensor;
    readonly table?: Tensor | undefined;
  },
): Tensor {
  const [, numKvHeads = 0, blockRows = 0, width = 0] = store.shape;
  const [batch = 0, count = 0] = positions.shape;
  const { device } = store;
  const page = positions.cast(device.defaultFloat).add(0.5).div(blockRows).floor().cast("i32");
  const row = placement === "contiguous" ? positions : positions.sub(page.mul(blockRows));
  const slot = slots.reshape([batch, 1]);
  const block = placement === "paged" && table !== undefined ? pageBlocks(table, { slot, page }) : slot;
  const head = arange(device, numKvHeads, { dtype: "i32" }).reshape([1, numKvHeads, 1]);
  const cell = block
    .reshape([batch, 1, -1])
    .mul(numKvHeads)
    .add(head)
    .mul(blockRows)
    .add(row.reshape([batch, 1, count]));
  return take(store.reshape([-1, width]), cell.reshape([-1])).reshape([batch, numKvHeads, count, width]);
}

/** table[slot, page], -1 where the table has no such entry. */
function pageBlocks(table: Tensor, { slot, page }: { readonly slot: Tensor; readonly page: Tensor }): Tensor {
  const [numSlots = 0, pages = 0] = table.shape;
  const isThere = slot
    .greaterEqual(0)
    .logicalAnd(slot.less(numSlots))
    .logicalAnd(page.greaterEqual(0))
    .logicalAnd(page.less(pages));
  const entry = take(table.reshape([-1]), slot.mul(pages).add(page).reshape([-1])).reshape(page.shape);
  const exists = isThere.cast("i32");
  return entry.add(1).mul(exists).sub(1); // -1 where it does not exist
}
