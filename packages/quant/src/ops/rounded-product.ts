import { defineOp, type Op, type OpSpec } from "@heddle/tensor";
import { argument, type Epilogue } from "@heddle/tensor/kernel";
import { formatKey } from "../kernels/panel-arguments.js";
import { isRagged, productRoom, productStep } from "../kernels/panel-product.js";
import { hasEpilogueKernel } from "../kernels/product-epilogue.js";
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

/** A product of rounded activations, with the elementwise ops behind it if it was compiled with some. */
export interface RoundedProductParams extends QuantLayout {
  /** Results of one weight or of two, and what is made of them. */
  readonly epilogue?: Epilogue & { readonly numWeights: number };
}

/**
 * y = records W^T. Inputs: records, then the weight's tensors. Shapes: -> [rows, out] f32.
 *
 * With an epilogue the inputs are those of its calls, one call after another, and then its own.
 */
export const roundedProductOp: Op<RoundedProductParams> = defineOp({
  name: "quantProduct",
  infer: ([records], { outFeatures }) => [{ shape: [records?.shape[0] ?? 0, outFeatures], dtype: "f32" }],
  isGrouped: true,
  withEpilogue(epilogue, calls) {
    const [first, ...others] = calls;
    if (first === undefined || others.length > 1 || !hasEpilogueKernel(epilogue)) return undefined;
    const layout = first.params as RoundedProductParams;
    const isAlike = others.every(
      ({ params, inputs }) => sameLayout(layout, params) && inputs[0]?.memory === first.inputs[0]?.memory,
    );
    if (!isAlike || layout.epilogue !== undefined || isRagged(layout)) return undefined;
    const params = { ...layout, epilogue: { ...epilogue, numWeights: calls.length } };
    return { spec: roundedProductOp.spec as OpSpec, params };
  },
  kernels: {
    wasm({ inputs, params: { epilogue, ...layout } }, features) {
      const rows = inputs[0]?.shape[0] ?? 0;
      const numParts = Object.keys(partTypes(layout)).length;
      const { numWeights = 1 } = epilogue ?? {};
      const buffers = (from: number, count: number) =>
        Array.from({ length: count }, (_, i) => argument.buffer(from + i));
      const ownFrom = numWeights * (numParts + 1);
      const room = productRoom(layout, numWeights === 2);
      const args = {
        records: argument.buffer(0),
        parts: buffers(1, numParts),
        second: numWeights === 2 ? buffers(numParts + 2, numParts) : undefined,
        y: argument.buffer(inputs.length),
        // Scratch is shared with other kernels: a product that needs none can run beside others.
        room: room === 0 ? argument.i32(0) : argument.scratch(0),
        epilogue: epilogue && {
          expression: epilogue.expression,
          inputs: epilogue.inputs.map(({ shape }, i) => ({
            argument: argument.buffer(ownFrom + i),
            isRow: shape.length === 1,
          })),
        },
      };
      return { steps: [productStep(layout, rows, { args, features })], scratchBytes: room };
    },
  },
});

function sameLayout(layout: QuantLayout, other: unknown): boolean {
  const { inFeatures, outFeatures, ...format } = other as QuantLayout;
  return (
    inFeatures === layout.inFeatures &&
    outFeatures === layout.outFeatures &&
    formatKey(format) === formatKey(layout) &&
    format.groupSize === layout.groupSize
  );
}

/** Whether the two halves apply: they have kernels on the CPU only. */
export function roundsActivations(kind: string, dtype: string, layout: QuantLayout): boolean {
  return kind === "cpu" && dtype === "f32" && panelCounts(layout).numBlocks > 0 && layout.outFeatures > 0;
}
