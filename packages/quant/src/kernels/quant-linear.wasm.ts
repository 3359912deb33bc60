import { argument, type WasmKernelFactory } from "@heddle/tensor/kernel";
import type { QuantLayout } from "../quant-format.js";
import { activationBits, productRoom, productStep } from "./panel-product.js";
import { activationBytes, quantizeStep } from "./quantize-activations.js";

/**
 * y = x W^T over the panels of a quantised weight: x is rounded to int8 in blocks of 32, products are whole numbers, scales
 * are applied once a group in f32. The result depends on neither the number of rows nor that of threads.
 *
 * Buffers: x [rows, in] f32, the weight's tensors, y [rows, out].
 */
export const quantLinearWasm: WasmKernelFactory<QuantLayout> = ({ inputs, params: layout }, features) => {
  const [x, ...parts] = inputs;
  if (x?.dtype !== "f32") return undefined;
  const { inFeatures, outFeatures } = layout;
  const rows = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  if (rows === 0 || outFeatures === 0 || inFeatures === 0) return undefined;
  const shape = { rows, columns: inFeatures, bits: activationBits(layout) };
  const bytes = activationBytes(shape);
  const spare = bytes.records + bytes.spare;
  const args = {
    records: argument.scratch(0),
    parts: parts.map((_, i) => argument.buffer(i + 1)),
    y: argument.buffer(inputs.length),
    room: argument.scratch(spare),
  };
  return {
    steps: [
      quantizeStep(
        shape,
        { x: argument.buffer(0), target: argument.scratch(0), spare: bytes.records },
        features,
      ),
      productStep(layout, rows, { args, features }),
    ],
    scratchBytes: spare + productRoom(layout),
  };
};
