import type { OpCall } from "@heddle/tensor";
import {
  denseSource,
  denseTarget,
  floatProductStep,
  floatTarget,
  matrixUnitOf,
  registerTilingOf,
  type Tiling,
  tensorSource,
  tileProductStep,
  type WgslFeatures,
  type WgslKernel,
} from "@heddle/tensor/kernel";
import { BLOCK_SIZE, type QuantLayout } from "../quant-format.js";
import { floatPanelSource, panelSource } from "./panel-tiles.wgsl.js";

/**
 * Tiles of 128 x 128 do mostly nothing for fewer rows, which are a matter of reading the weight: deep slices keep many loads under way; narrow
 * tiles give small weights many workgroups, and wide ones read x less often.
 */
function tilingOf(rows: number, outputs: number): Tiling {
  if (rows > 64) {
    const edges = { rows: 128, columns: 128, partRows: 64, partColumns: 64 };
    return { ...edges, depth: BLOCK_SIZE, padding: 8, band: 8 };
  }
  const common = { padding: 8, band: 1, partRows: 32, partColumns: 16 } as const;
  if (rows > 32) {
    const few = { ...common, rows: 64 };
    if (outputs <= 4096) return { ...few, columns: 32, depth: 128 };
    return { ...few, columns: 64, depth: outputs < 16384 ? 128 : 64, partColumns: 32 };
  }
  if (outputs >= 16384) return { ...common, rows: 32, columns: 128, depth: 64 };
  const fewer = { ...common, rows: 32, partRows: 16 };
  if (outputs > 4096) return { ...fewer, columns: 32, depth: 128 };
  return { ...fewer, columns: outputs > 2048 ? 32 : 16, depth: 256 };
}

/**
 * y = x W^T for many rows of x: codes are widened in workgroup memory, nowhere else. On matrix units x and the weights are
 * rounded to halves and sums are f32; elsewhere all is f32.
 *
 * Undefined for x of other dtypes than f32 and f16 and inner extents that are no multiple of 4. Twin: the product with the
 * widened weight.
 */
export function manyRowsWgsl(
  layout: QuantLayout,
  { inputs, outputs }: OpCall,
  features: WgslFeatures,
): WgslKernel | undefined {
  const [x, y] = [inputs[0], outputs[0]];
  const { inFeatures: K, outFeatures: N } = layout;
  if (x === undefined || y === undefined || x.dtype !== y.dtype || K % 4 !== 0) return undefined;
  if (x.dtype !== "f32" && x.dtype !== "f16") return undefined;
  const M = x.shape.reduce((product, extent) => product * extent, 1) / K;
  if (M < 1) return undefined;
  const extents = { M, N, K, count: 1 };
  const dense = { name: "a", index: 0, isDenseK: true, edge: M, K, from: "0u" } as const;
  const unit = matrixUnitOf(features);
  if (unit !== undefined) {
    const tiling = tilingOf(M, N);
    const left = denseSource({ ...dense, dtype: x.dtype, lanes: 4 }, tiling);
    const target = denseTarget({ index: inputs.length, dtype: y.dtype, N }, features);
    const right = panelSource(layout, 1, tiling);
    return { steps: [tileProductStep({ ...extents, unit, tiling, left, right, target })] };
  }
  const tiling = { ...registerTilingOf(M, N), depth: BLOCK_SIZE, unroll: 4 };
  const left = tensorSource({ ...dense, dtype: x.dtype, strides: [] }, tiling);
  const right = floatPanelSource(layout, 1, tiling);
  const target = floatTarget(inputs.length, y.dtype, N);
  return { steps: [floatProductStep({ ...extents, tiling, left, right, target })] };
}
