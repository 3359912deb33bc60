import { type Device, randn } from "@heddle/tensor";
import { type MatrixCheck, type MatrixUnits, onMatrixUnits } from "../../tensor/test/emulated-matrices.js";
import { type QuantTensor, quantFromBlocks, quantizeTensor } from "../src/index.js";
import { quantLinearOp } from "../src/ops/quant-linear.js";
import { listParts } from "../src/quant-format.js";
import { productError } from "./product-error.js";
import { randomBlocks } from "./random-blocks.js";

interface Rows {
  readonly rows: number;
  readonly dtype: "f32" | "f16";
}

const blocks = [
  ["Q4_0", { rows: 40, dtype: "f16" }],
  ["Q4_K", { rows: 70, dtype: "f32" }],
  ["Q6_K", { rows: 20, dtype: "f32" }],
  ["Q8_0", { rows: 130, dtype: "f16" }],
] as const;
const groups = [
  { bits: 4, groupSize: 128, columns: 384 },
  { bits: 8, groupSize: 32, columns: 100 },
] as const;

/** Products of quantised weights on matrix units, whose codes are widened on their way, beside float64. */
export const matrixWeights: readonly MatrixCheck[] = [
  ...blocks.map(([type, given]) => ({
    name: `${type}, ${given.rows} rows of ${given.dtype}`,
    async error(device: Device, units: MatrixUnits) {
      const columns = type.endsWith("_K") ? 512 : 96;
      using weight = quantFromBlocks(device, type, randomBlocks(type, 70 * columns, 1), [70, columns]);
      return errorOf(weight, given, units);
    },
  })),
  ...groups.map(({ bits, groupSize, columns }) => ({
    name: `int${bits} in groups of ${groupSize}, ${columns} inputs`,
    async error(device: Device, units: MatrixUnits) {
      using dense = randn(device, [50, columns], { seed: 3 });
      using weight = await quantizeTensor(dense, { bits, groupSize, isSymmetric: false });
      return errorOf(weight, { rows: 37, dtype: "f32" }, units);
    },
  })),
];

/** x and the widened weight are rounded to halves, and y where x is of them; in units of the sum of the products' sizes. */
const tolerance = 3 * 2 ** -11;

async function errorOf(weight: QuantTensor, { rows, dtype }: Rows, units: MatrixUnits): Promise<number> {
  const { inFeatures, outFeatures } = weight;
  using wide = randn(weight.device, [rows, inFeatures], { seed: rows });
  using x = wide.cast(dtype);
  const parts = listParts(weight.parts);
  using y = onMatrixUnits(quantLinearOp, units).call([x, ...parts], weight.layout);
  using dense = weight.dequantize();
  const values = { x: await x.data(), w: await dense.data(), y: await y.data() };
  return productError(values, [rows, outFeatures, inFeatures]) / tolerance;
}
