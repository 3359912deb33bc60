import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { offsetCode } from "../strides.js";
import { denseSource, denseTarget } from "./dense-tiles.js";
import type { MatmulCall } from "./matmul-call.js";
import { matrixUnitOf, type Tiling, tileProductStep } from "./matrix-tiles.js";

/** With fewer rows the weights bound the time, and kernels without matrices read them faster. */
const minRows = 9;

/**
 * Tiles of 128 x 128, a subgroup 64 x 64 of it. With few rows the weights are to be read fast: narrow tiles give many
 * workgroups, and deep slices keep many loads under way. (Slices of 64 are a little faster for 128 rows, 283 against 268
 * TFLOP/s on an H100, but far slower with bounds checks.)
 */
export function denseTiling(
  { M, N }: Pick<MatmulCall, "M" | "N">,
  { lanes, stack = 1 }: { readonly lanes: number; readonly stack?: number },
): Tiling {
  const low = { rows: 32, padding: 8, band: 1, partColumns: 16 } as const;
  const deep = (depth: number) => (lanes === 8 ? depth : 32);
  // A part holds whole matrices of each product that it stacks.
  if (M <= 32 && stack > 1) return { ...low, columns: 32, depth: deep(128), partRows: 16, partColumns: 32 };
  if (M <= 32 && N >= 8192) return { ...low, columns: 32, depth: deep(128), partRows: 32 };
  if (M <= 32) return { ...low, columns: 16, depth: deep(256), partRows: 16 };
  if (M <= 64)
    return { rows: 64, columns: 64, depth: deep(64), partRows: 32, partColumns: 32, padding: 8, band: 1 };
  return { rows: 128, columns: 128, depth: 32, partRows: 64, partColumns: 64, padding: 8, band: 16 };
}

/** Whether matrix units take a product: f16 throughout, more than 8 rows, dense axes of even length. */
export function fitsMatrixUnits(call: MatmulCall, features: WgslFeatures): boolean {
  const { M, N, K, transposeA, transposeB, dtypes } = call;
  const isHalf = [dtypes.a, dtypes.b, dtypes.c].every((dtype) => dtype === "f16");
  const isEven = (transposeA ? M : K) % 2 === 0 && (transposeB ? K : N) % 2 === 0;
  return matrixUnitOf(features) !== undefined && isHalf && M >= minRows && isEven;
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
  chosen?: Tiling,
): WgslKernel | undefined {
  const { M, N, K, batch, batchStridesA, batchStridesB, transposeA, transposeB, dtypes } = call;
  const unit = matrixUnitOf(features);
  if (unit === undefined || !fitsMatrixUnits(call, features)) return undefined;
  const [a, b] = [transposeA ? M : K, transposeB ? K : N];
  const lengths = [a, b, ...batchStridesA, ...batchStridesB];
  const lanes = ([8, 4] as const).find((n) => lengths.every((length) => length % n === 0)) ?? 2;
  const tiling = chosen ?? denseTiling(call, { lanes });
  const walk = offsetCode({ shape: batch, strides: [batchStridesA, batchStridesB] }, "batch", "w");
  const [fromA = "0u", fromB = "0u"] = walk.offsets;
  const step = tileProductStep({
    M,
    N,
    K,
    count: sizeOf(batch),
    unit,
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
    target: denseTarget({ index: 2, dtype: dtypes.c, N }, features),
  });
  return { steps: [step] };
}
