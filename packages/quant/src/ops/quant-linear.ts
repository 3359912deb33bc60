import { defineOp, HeddleError, matmul, type Op, type OpCall, type Tensor } from "@heddle/tensor";
import { productWgsl } from "@heddle/tensor/kernel";
import { manyRowsWgsl } from "../kernels/many-rows.wgsl.js";
import { activationBits } from "../kernels/panel-product.js";
import { quantLinearWasm } from "../kernels/quant-linear.wasm.js";
import { quantLinearWgsl } from "../kernels/quant-linear.wgsl.js";
import { quantProduct } from "../kernels/quant-product.wgsl.js";
import type { QuantLayout } from "../quant-format.js";
import { dequantizeOp } from "./dequantize.js";
import { roundActivationsOp, roundedProductOp, roundsActivations } from "./rounded-product.js";

/**
 * y = x W^T with a quantised W.
 *
 * Inputs: x [.., in] f32 (f64 on the reference device), then the weight's tensors. Shapes: -> [.., out]. The CPU, and GPUs
 * for up to 32 rows (16 where they have matrix units), round x to int8 in blocks of 32 first; the gradient to x is that of
 * the exact product.
 */
export const quantLinearOp: Op<QuantLayout> = defineOp({
  name: "quantLinear",
  infer([x], { inFeatures, outFeatures }) {
    if (x === undefined) return [];
    if (x.shape.at(-1) !== inFeatures) {
      throw new HeddleError(
        "shape",
        `linear: x must end in the weight's inFeatures; got x [${x.shape.join(", ")}], a quantised weight [${outFeatures}, ${inFeatures}]. Reshape x.`,
        { x: x.shape, inFeatures, outFeatures },
      );
    }
    return [{ shape: [...x.shape.slice(0, -1), outFeatures], dtype: x.dtype }];
  },
  reference([x, ...parts], layout) {
    if (x === undefined) return [];
    return [matmul(x, widened(layout, parts, x), { transposeB: true })];
  },
  expand([x, ...parts], layout) {
    const rows = x?.shape.slice(0, -1) ?? [];
    if (x === undefined || x.size === 0 || !roundsActivations(x.device.kind, x.dtype, layout))
      return undefined;
    const records = roundActivationsOp.call([x], { bits: activationBits(layout) });
    return [roundedProductOp.call([records, ...parts], layout).reshape([...rows, layout.outFeatures])];
  },
  vjp: ({ inputs: [x, ...parts], grads: [grad], params }) =>
    x === undefined || grad === undefined ? [] : [matmul(grad, widened(params, parts, x))],
  kernels: {
    wasm: quantLinearWasm,
    wgsl: (call, features) =>
      productWgsl(call as OpCall, features) ??
      quantLinearWgsl(call.params, call as OpCall) ??
      manyRowsWgsl(call.params, call as OpCall, features),
    pieces: { product: (call, features) => quantProduct(call.params, call as OpCall, features) },
  },
});

function widened(layout: QuantLayout, parts: readonly Tensor[], { dtype }: Tensor): Tensor {
  return dequantizeOp.call(parts, { ...layout, dtype: dtype === "f64" ? "f64" : "f32" });
}
