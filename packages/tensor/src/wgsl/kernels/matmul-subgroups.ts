import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { offsetCode } from "../strides.js";
import { denseSource, denseTarget } from "./dense-tiles.js";
import type { MatmulCall } from "./matmul-call.js";
import { hasMatrixUnits, type Tiling, tileProductStep } from "./matrix-tiles.js";

/**
 * 64 x 64 outputs a subgroup. Slices of 64 where both operands lie along the inner axis, so that rows are read by whole cache
 * lines; of 32 elsewhere.
 */
function tilingOf({ transposeA, transposeB }: MatmulCall): Tiling {
  const depth = transposeB && !transposeA ? 64 : 32;
  return { rows: 128, columns: 128, depth, partRows: 64, partColumns: 64, padding: 8, band: 16 };
}

/**
 * f16 product with f32 sums on the hardware's matrix units.
 *
 * For adapters with subgroups of 32 and 16 x 16 x 16 products f16 -> f32, and operands whose dense axis is even; undefined
 * else. Twin: matmul's loops.
 */
export function subgroupMatmulWgsl(
  call: MatmulCall,
  features: WgslFeatures,
  tiling: Tiling = tilingOf(call),
): WgslKernel | undefined {
  const { M, N, K, batch, batchStridesA, batchStridesB, transposeA, transposeB, dtypes } = call;
  const isHalf = [dtypes.a, dtypes.b, dtypes.c].every((dtype) => dtype === "f16");
  const [a, b] = [transposeA ? M : K, transposeB ? K : N];
  if (!hasMatrixUnits(features) || !isHalf || M < 32 || a % 2 !== 0 || b % 2 !== 0) return undefined;
  const lengths = [a, b, ...batchStridesA, ...batchStridesB];
  const lanes = ([8, 4] as const).find((n) => lengths.every((length) => length % n === 0)) ?? 2;
  const walk = offsetCode({ shape: batch, strides: [batchStridesA, batchStridesB] }, "batch", "w");
  const [fromA = "0u", fromB = "0u"] = walk.offsets;
  const step = tileProductStep({
    M,
    N,
    K,
    count: sizeOf(batch),
    tiling,
    setup: walk.code,
    params: walk.params,
    left: denseSource(
      {
        name: "a",
        index: 0,
        dtype: "f16",
        isDenseK: !transposeA,
        edge: M,
        K,
        from: fromA,
        lanes,
      },
      tiling,
    ),
    right: denseSource(
      {
        name: "b",
        index: 1,
        dtype: "f16",
        isDenseK: transposeB,
        edge: N,
        K,
        from: fromB,
        lanes,
      },
      tiling,
    ),
    target: denseTarget(2, dtypes.c, N),
  });
  return { steps: [step] };
}
