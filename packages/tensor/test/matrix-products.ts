import { type Device, randn, reference, tensor } from "../src/index.js";
import { matmulOp } from "../src/ops/matmul.js";
import { errorInBounds, type MatrixCheck, type MatrixUnits, onMatrixUnits } from "./emulated-matrices.js";

interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Leading axes of both operands. */
  readonly batches?: readonly [a: readonly number[], b: readonly number[]];
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** Tiles of 32 x 16, 32 x 32, 64 x 64 and 128 x 128 outputs; extents that no tile divides; 8, 4 and 2 halves at a time. */
const products: readonly Product[] = [
  { M: 9, N: 20, K: 260 },
  { M: 20, N: 8200, K: 136, transposeB: true },
  { M: 40, N: 66, K: 34, transposeB: true },
  { M: 66, N: 33, K: 48, transposeB: true, batches: [[2, 1], [3]] },
  { M: 136, N: 136, K: 72, transposeA: true, batches: [[2], []] },
  { M: 132, N: 130, K: 36, transposeA: true, transposeB: true },
];

/** f16 products of the matrix units beside float64. */
export const matrixProducts: readonly MatrixCheck[] = products.map((call) => {
  const { M, N, K, transposeA = false, transposeB = false, batches } = call;
  const order = `${transposeA ? " a^T" : ""}${transposeB ? " b^T" : ""}`;
  return {
    name: `f16 ${M} x ${N} over ${K}${order}${batches ? ` in ${JSON.stringify(batches)}` : ""}`,
    async error(device, units) {
      const [actual, expected] = [await product(device, call, units), await product(reference(), call)];
      // One rounding to f16, and that of sums of K products of standard normals in f32.
      return errorInBounds(actual, expected, (value) => 2 ** -11 * 1.01 * Math.abs(value) + 1e-6 * K + 1e-5);
    },
  };
});

/** The product of the same halves: on matrix units, or in float64. */
async function product(
  on: Device,
  { M, N, K, batches: [a, b] = [[], []], transposeA = false, transposeB = false }: Product,
  units?: MatrixUnits,
): Promise<ArrayLike<number>> {
  const place = async (shape: readonly number[], seed: number) => {
    const halves = await randn(reference(), shape, { seed }).cast("f16").cast("f64").data();
    return tensor(on, Float64Array.from(halves), { shape, dtype: units ? "f16" : "f64" });
  };
  using left = await place([...a, ...(transposeA ? [K, M] : [M, K])], 1);
  using right = await place([...b, ...(transposeB ? [N, K] : [K, N])], 2);
  const op = units ? onMatrixUnits(matmulOp, units) : matmulOp;
  using result = op.call([left, right], { transposeA, transposeB });
  return Float64Array.from(await result.data());
}
