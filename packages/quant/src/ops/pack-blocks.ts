import { defineOp, type HostArray, type Op } from "@heddle/tensor";
import { packBlocksWasm } from "../kernels/pack-blocks.wasm.js";
import { type BlockLayout, bytesOfRow, fillPanels } from "../panels-from-blocks.js";
import { nameParts, PANEL_ROWS } from "../quant-format.js";

/** What is packed, and how many panels one call takes at most. */
export interface PackParams extends BlockLayout {
  readonly mostPanels: number;
}

/**
 * Packs rows of stored blocks into the tensors of a weight, in place.
 *
 * Inputs: bytes u8 [..]; range i32 [3], the byte at which whole panels (sixteen rows each) begin, the number of the first and how
 * many there are; then the weight's tensors. No output. The bytes may lie in the weight's codes, behind those that are written.
 */
export const packBlocksOp: Op<PackParams> = defineOp({
  name: "packBlocks",
  infer: () => [],
  mutates: [2, 3, 4, 5, 6],
  evaluate: (inputs, _outputs, layout) => pack(inputs, layout),
  vjp: () => [],
  kernels: {
    wasm: ({ params: { mostPanels, ...layout } }, features) => packBlocksWasm(layout, mostPanels, features),
  },
});

function pack([bytes, range, ...parts]: readonly (HostArray | undefined)[], layout: BlockLayout): void {
  if (!(bytes?.data instanceof Uint8Array) || range === undefined) return;
  const [from = 0, firstPanel = 0, numPanels = 0] = range.data;
  const end = from + numPanels * PANEL_ROWS * bytesOfRow(layout);
  const arrays = nameParts(
    layout,
    parts.flatMap((part) => part?.data ?? []),
  );
  fillPanels(layout, arrays, { bytes: bytes.data.subarray(from, end), firstRow: PANEL_ROWS * firstPanel });
}
