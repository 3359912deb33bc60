import { defineOp, type Op } from "@heddle/tensor";
import { argument } from "@heddle/tensor/kernel";
import { productRoom, productStep } from "../kernels/panel-product.js";
import { activationBytes, quantizeStep, recordBytes } from "../kernels/quantize-activations.js";
import { BLOCK_SIZE, panelCounts, partTypes, type QuantLayout } from "../quant-format.js";

// The two halves of `quantLinear` on the CPU, apart: compiled functions round an input once for all weights that read it.

/** Rounds activations to int8 in blocks of 32. Shapes: x [.., in] f32 -> records [rows, blocks, bytes] u8. */
export const roundActivationsOp: Op<{ readonly bits: 8 | 16 }> = defineOp({
  name: "roundActivations",
  infer([x], { bits }) {
    const columns = x?.shape.at(-1) ?? 0;
    const rows = x?.shape.slice(0, -1).reduce((product, extent) => product * extent, 1) ?? 0;
    return [{ shape: [rows, Math.ceil(columns / BLOCK_SIZE), recordBytes(bits)], dtype: "u8" }];
  },
  isShared: true,
  kernels: {
    wasm({ inputs: [x], outputs: [records], params: { bits } }, features) {
      if (x?.dtype !== "f32" || records === undefined) return undefined;
      const shape = { rows: records.shape[0] ?? 0, columns: x.shape.at(-1) ?? 0, bits };
      const step = quantizeStep(
        shape,
        { x: argument.buffer(0), target: argument.buffer(1), spare: 0 },
        features,
      );
      return { steps: [step], scratchBytes: activationBytes(shape).spare };
    },
  },
});

/** y = records W^T. Inputs: records, then the weight's tensors. Shapes: -> [rows, out] f32. */
export const roundedProductOp: Op<QuantLayout> = defineOp({
  name: "quantProduct",
  infer: ([records], { outFeatures }) => [{ shape: [records?.shape[0] ?? 0, outFeatures], dtype: "f32" }],
  isGrouped: true,
  kernels: {
    wasm({ inputs: [records], params: layout }, features) {
      const rows = records?.shape[0] ?? 0;
      const numParts = Object.keys(partTypes(layout)).length;
      const room = productRoom(layout);
      const args = {
        records: argument.buffer(0),
        parts: Array.from({ length: numParts }, (_, i) => argument.buffer(i + 1)),
        y: argument.buffer(numParts + 1),
        // Scratch is shared with other kernels: a product that needs none can run beside others.
        room: room === 0 ? argument.i32(0) : argument.scratch(0),
      };
      return { steps: [productStep(layout, rows, { args, features })], scratchBytes: room };
    },
  },
});

/** Whether the two halves apply: they have kernels on the CPU only. */
export function roundsActivations(kind: string, dtype: string, layout: QuantLayout): boolean {
  return kind === "cpu" && dtype === "f32" && panelCounts(layout).numBlocks > 0 && layout.outFeatures > 0;
}
