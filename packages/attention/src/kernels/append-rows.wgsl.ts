import { sizeOf, type TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  type PlacementPieceFactory,
  type WgslKernelFactory,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import { type AppendParams, splitInputs } from "../append-params.js";
import { type PlacementExtents, placementExtents } from "../cache-placement.js";

/** Writes new rows into one or two stores, one thread an element. Twin: the loops of the op. */
export const appendRowsWgsl: WgslKernelFactory<AppendParams> = ({
  inputs,
  params: { placement, stores },
}) => {
  const { pairs, table } = splitInputs(inputs, stores);
  const steps = pairs.map(({ store, fresh }, index) =>
    appendStep(
      { store, fresh, extents: placementExtents(placement, store, table) },
      { store: index, fresh: stores + index, slots: 2 * stores },
    ),
  );
  return { steps };
};

/** Where the rows of one token go, for kernels that have just made them. Twin: the kernel above. */
export const appendPiece: PlacementPieceFactory<AppendParams> = ({
  inputs,
  params: { placement, stores },
}) => {
  const { pairs, table } = splitInputs(inputs, stores);
  const [first] = pairs;
  const [, heads = 1, length] = first?.fresh.shape ?? [];
  if (first === undefined || length !== 1) return undefined;
  const { numSlots, maxSeqLen, blockRows } = placementExtents(placement, first.store, table);
  const isPaged = placement === "paged";
  const read = (name: string, input: number) => ({ name, input, dtype: "i32" }) as const;
  return {
    stores: pairs.map(({ store }, i) => ({
      store: i,
      fresh: stores + i,
      dtype: store.dtype,
      width: store.shape[3] ?? 1,
    })),
    inputs: [
      read("slots", 2 * stores),
      read("starts", 2 * stores + 1),
      ...(isPaged ? [read("pages", 2 * stores + 2)] : []),
    ],
    params: { heads, numSlots, maxSeqLen, blockRows },
    tables: {},
    code: (p) => `fn ${p}_cell(m: u32, head: u32) -> i32 {
  let slot = load_${p}_slots(m);
  let start = load_${p}_starts(m);
  if (slot < 0 || u32(slot) >= P.${p}_numSlots || start < 0 || u32(start) >= P.${p}_maxSeqLen) { return -1; }
  let page = u32(start) / P.${p}_blockRows;
  ${isPaged ? `let block = load_${p}_pages(u32(slot) * (P.${p}_maxSeqLen / P.${p}_blockRows) + page);\n  if (block < 0) { return -1; }` : "let block = slot;"}
  return i32((u32(block) * P.${p}_heads + head) * P.${p}_blockRows + u32(start) % P.${p}_blockRows);
}`,
  };
};

interface Append {
  readonly store: TensorType;
  readonly fresh: TensorType;
  readonly extents: PlacementExtents;
}

/** Which buffers of the launch; starts and table follow the slots. */
interface Buffers {
  readonly store: number;
  readonly fresh: number;
  readonly slots: number;
}

function appendStep({ store, fresh, extents }: Append, at: Buffers): WgslStep {
  const [, heads = 1, length = 1, width = 1] = fresh.shape;
  const size = sizeOf(fresh.shape);
  const isPaged = extents.placement === "paged";
  const read = (name: string, index: number): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype: "i32",
    access: "read",
  });
  return wgslStep({
    buffers: [
      { name: "rows", memory: bufferAt(at.store), dtype: store.dtype, access: "write" },
      { name: "fresh", memory: bufferAt(at.fresh), dtype: fresh.dtype, access: "read" },
      read("slots", at.slots),
      read("starts", at.slots + 1),
      ...(isPaged ? [read("pages", at.slots + 2)] : []),
    ],
    params: {
      size,
      heads,
      len: length,
      width,
      numSlots: extents.numSlots,
      maxSeqLen: extents.maxSeqLen,
      blockRows: extents.blockRows,
    },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  let token = (i / P.width) % P.len;
  let head = (i / (P.width * P.len)) % P.heads;
  let batch = i / (P.width * P.len * P.heads);
  let slot = load_slots(batch);
  let start = load_starts(batch);
  if (slot < 0 || u32(slot) >= P.numSlots || start < 0 || u32(start) + P.len > P.maxSeqLen) { return; }
  let position = u32(start) + token;
  let page = position / P.blockRows;
  ${isPaged ? "let block = load_pages(u32(slot) * (P.maxSeqLen / P.blockRows) + page);\n  if (block < 0) { return; }" : "let block = slot;"}
  let row = (u32(block) * P.heads + head) * P.blockRows + position % P.blockRows;
  store_rows(row * P.width + i % P.width, load_fresh(i));`,
  });
}
