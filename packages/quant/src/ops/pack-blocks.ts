import { defineOp, type HostArray, type Op } from "@heddle/tensor";
import type { WasmKernelFactory } from "@heddle/tensor/kernel";
import { packBlocksWasm } from "../kernels/pack-blocks.wasm.js";
import { type BlockLayout, fillPanels } from "../panels-from-blocks.js";
import { PANEL_ROWS, partNames, partTypes } from "../quant-format.js";
import { nameParts } from "./dequantize.js";

const wasm: WasmKernelFactory<BlockLayout> = ({ params, inputs: [bytes] }, features) =>
  packBlocksWasm(params, bytes?.shape[0] ?? 0, features);

/**
 * Packs the first rows of stored blocks into new tensors of a weight; what lies behind them is left for `packBlocksOp`.
 *
 * Inputs: bytes u8 [n] of whole panels (sixteen rows each), first i32 [1]: 0. Outputs: the tensors that `partTypes` says.
 */
export const packFirstBlocksOp: Op<BlockLayout> = defineOp({
  name: "packFirstBlocks",
  infer: (_inputs, layout) => {
    const types = partTypes(layout);
    return partNames.flatMap((name) => types[name] ?? []);
  },
  evaluate: ([bytes, first], outputs, layout) => pack([bytes, first, ...outputs], layout),
  vjp: () => [],
  kernels: { wasm },
});

/**
 * Packs rows of stored blocks into the tensors of a weight, in place.
 *
 * Inputs: bytes u8 [n] of whole panels, first i32 [1], the number of the first panel, then the weight's tensors. No output.
 */
export const packBlocksOp: Op<BlockLayout> = defineOp({
  name: "packBlocks",
  infer: () => [],
  mutates: [2, 3, 4, 5, 6],
  evaluate: (inputs, _outputs, layout) => pack(inputs, layout),
  vjp: () => [],
  kernels: { wasm },
});

function pack([bytes, first, ...parts]: readonly (HostArray | undefined)[], layout: BlockLayout): void {
  if (!(bytes?.data instanceof Uint8Array) || first === undefined) return;
  const arrays = nameParts(
    layout,
    parts.flatMap((part) => part?.data ?? []),
  );
  fillPanels(layout, arrays, { bytes: bytes.data, firstRow: PANEL_ROWS * (first.data[0] ?? 0) });
}
