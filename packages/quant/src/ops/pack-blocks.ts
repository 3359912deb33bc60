import { defineOp, type Op } from "@heddle/tensor";
import { packBlocksWasm } from "../kernels/pack-blocks.wasm.js";
import { type BlockLayout, fillPanels } from "../panels-from-blocks.js";
import { nameParts } from "./dequantize.js";

/**
 * Packs rows of stored blocks into the tensors of a weight, in place.
 *
 * Inputs: bytes u8 [n] of whole panels (sixteen rows each), first i32 [1], the number of the first panel, then the weight's
 * tensors. No output.
 */
export const packBlocksOp: Op<BlockLayout> = defineOp({
  name: "packBlocks",
  infer: () => [],
  mutates: [2, 3, 4, 5, 6],
  evaluate([bytes, first, ...parts], _outputs, { type, ...layout }) {
    if (!(bytes?.data instanceof Uint8Array) || first === undefined) return;
    const arrays = nameParts(
      layout,
      parts.map(({ data }) => data),
    );
    fillPanels({ ...layout, type }, arrays, { bytes: bytes.data, firstRow: 16 * (first.data[0] ?? 0) });
  },
  vjp: () => [],
  kernels: {
    wasm: ({ params, inputs: [bytes] }, features) => packBlocksWasm(params, bytes?.shape[0] ?? 0, features),
  },
});
