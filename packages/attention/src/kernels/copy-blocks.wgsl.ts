import { byteWidth, sizeOf } from "@heddle/tensor";
import { bufferAt, type WgslKernelFactory, wgslStep } from "@heddle/tensor/kernel";

/** `copyBlocks` for any dtype: a thread makes all copies of its word (or byte) of a block, in order. Twin: the loops of the op. */
export const copyBlocksWgsl: WgslKernelFactory<Record<string, never>> = ({ inputs: [store, from] }) => {
  if (store === undefined || from === undefined) return undefined;
  const blocks = store.shape[0] ?? 0;
  const blockBytes = blocks === 0 ? 0 : (sizeOf(store.shape) / blocks) * byteWidth(store.dtype);
  const dtype = blockBytes % 4 === 0 ? "u32" : "u8";
  const size = blockBytes / byteWidth(dtype);
  const step = wgslStep({
    buffers: [
      { name: "store", memory: bufferAt(0), dtype, access: "readWrite" },
      { name: "sources", memory: bufferAt(1), dtype: "i32", access: "read" },
      { name: "targets", memory: bufferAt(2), dtype: "i32", access: "read" },
    ],
    params: { blocks, size, count: from.shape[0] ?? 0 },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  for (var copy = 0u; copy < P.count; copy++) {
    let source = u32(load_sources(copy));
    let target_block = u32(load_targets(copy));
    if (source < P.blocks && target_block < P.blocks) {
      store_store(target_block * P.size + i, load_store(source * P.size + i));
    }
  }`,
  });
  return { steps: [step] };
};
