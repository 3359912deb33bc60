import { sizeOf, type TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  each,
  type PlacementPieceFactory,
  vectorLanes,
  type WgslKernelFactory,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import { type AppendParams, splitInputs } from "../append-params.js";
import { type PlacementExtents, placementExtents } from "../cache-placement.js";

/**
 * Writes new rows into one or two stores, a thread an element, or 16 bytes of each store where these take the rows as they are. Twin: the
 * loops of the op.
 */
export const appendRowsWgsl: WgslKernelFactory<AppendParams> = ({
  inputs,
  params: { placement, stores },
}) => {
  const { pairs, table } = splitInputs(inputs, stores);
  const appends = pairs.map(
    ({ store, fresh }, index): Append => ({
      store,
      fresh,
      extents: placementExtents(placement, store, table),
      buffers: { store: index, fresh: stores + index, slots: 2 * stores },
    }),
  );
  const [first] = appends;
  const isAlike = (a: TensorType, b: TensorType) => a.dtype === b.dtype && a.shape.join() === b.shape.join();
  const areVectors = appends.every(
    ({ store, fresh }) =>
      first !== undefined &&
      store.dtype === fresh.dtype &&
      (fresh.shape[3] ?? 1) % vectorLanes(fresh.dtype) === 0 &&
      isAlike(fresh, first.fresh) &&
      isAlike(store, first.store),
  );
  return {
    steps: areVectors && first ? [appendStep(appends, first)] : appends.map((of) => appendStep([of], of)),
  };
};

/** Where the rows of tokens go, for kernels that have just made them. Twin: the kernel above. */
export const appendPiece: PlacementPieceFactory<AppendParams> = ({
  inputs,
  params: { placement, stores },
}) => {
  const { pairs, table } = splitInputs(inputs, stores);
  const [first] = pairs;
  const [batch = 1, heads = 1, tokens = 1] = first?.fresh.shape ?? [];
  if (first === undefined) return undefined;
  const { numSlots, maxSeqLen, blockRows } = placementExtents(placement, first.store, table);
  const isPaged = placement === "paged";
  const read = (name: string, input: number) => ({ name, input, dtype: "i32" }) as const;
  return {
    rows: batch * tokens,
    tokens,
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
  let slot = load_${p}_slots(m / ${tokens}u);
  let start = load_${p}_starts(m / ${tokens}u);
  if (slot < 0 || u32(slot) >= P.${p}_numSlots || start < 0 || u32(start) + ${tokens}u > P.${p}_maxSeqLen) { return -1; }
  let position = u32(start) + m % ${tokens}u;
  let page = position / P.${p}_blockRows;
  ${isPaged ? `let block = load_${p}_pages(u32(slot) * (P.${p}_maxSeqLen / P.${p}_blockRows) + page);\n  if (block < 0) { return -1; }` : "let block = slot;"}
  return i32((u32(block) * P.${p}_heads + head) * P.${p}_blockRows + position % P.${p}_blockRows);
}`,
  };
};

interface Append {
  readonly store: TensorType;
  readonly fresh: TensorType;
  readonly extents: PlacementExtents;
  readonly buffers: Buffers;
}

/** Which buffers of the launch; starts and table follow the slots. */
interface Buffers {
  readonly store: number;
  readonly fresh: number;
  readonly slots: number;
}

/** Writes stores of equal extents, of which `first` is one: whole vectors where all of them hold such and take rows as they are. */
function appendStep(appends: readonly Append[], { fresh, store, extents, buffers }: Append): WgslStep {
  const [, heads = 1, length = 1, width = 1] = fresh.shape;
  const isVector = store.dtype === fresh.dtype && width % vectorLanes(fresh.dtype) === 0;
  const lanes = isVector ? vectorLanes(fresh.dtype) : 1;
  const size = sizeOf(fresh.shape) / lanes;
  const isPaged = extents.placement === "paged";
  const read = (name: string, index: number): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype: "i32",
    access: "read",
  });
  const element = isVector ? { element: "vec4u" } : {};
  return wgslStep({
    buffers: [
      ...appends.flatMap(({ buffers: at }, i): BufferUse[] => [
        {
          name: `rows${i}`,
          memory: bufferAt(at.store),
          dtype: store.dtype,
          access: isVector ? "words" : "write",
          ...element,
        },
        { name: `fresh${i}`, memory: bufferAt(at.fresh), dtype: fresh.dtype, access: "read", ...element },
      ]),
      read("slots", buffers.slots),
      read("starts", buffers.slots + 1),
      ...(isPaged ? [read("pages", buffers.slots + 2)] : []),
    ],
    params: {
      size,
      heads,
      len: length,
      width: width / lanes,
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
  let to = row * P.width + i % P.width;
${each(appends.length, (n) => (isVector ? `  rows${n}[to] = fresh${n}[i];` : `  store_rows${n}(to, load_fresh${n}(i));`))}`,
  });
}
