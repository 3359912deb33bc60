import { expect } from "vitest";
import {
  add,
  compile,
  concat,
  crossEntropy,
  cumsum,
  type Device,
  type DType,
  div,
  embedding,
  gather,
  layerNorm,
  logSoftmax,
  matmul,
  maximum,
  minimum,
  mul,
  pad,
  randn,
  reference,
  rmsNorm,
  scatterAdd,
  softmax,
  sort,
  sub,
  type Tensor,
  take,
  tensor,
  topK,
  tril,
  valueAndGrad,
  where,
  writeInto,
} from "../src/index.js";

/** One op in a narrow dtype: each device rounds its result once, so none is more than one step from the reference. */
export interface DTypeCase {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  /** `x[i]` has shape i and the dtype under test. */
  run(x: (index: number) => Tensor, device: Device): Tensor;
}

const ids = (device: Device, values: readonly number[], shape: readonly number[]) =>
  tensor(device, new Int32Array(values), { shape });

/** Ops that every number has. */
const numberCases: readonly DTypeCase[] = [
  { name: "add", shapes: [[5, 9], [9]], run: (x) => add(x(0), x(1)) },
  {
    name: "sub",
    shapes: [
      [5, 9],
      [5, 1],
    ],
    run: (x) => sub(x(0), x(1)),
  },
  { name: "mul", shapes: [[5, 9], []], run: (x) => mul(x(0), x(1)) },
  { name: "mul by a number", shapes: [[77]], run: (x) => mul(x(0), 3) },
  { name: "maximum", shapes: [[37], [37]], run: (x) => maximum(x(0), x(1)) },
  { name: "minimum", shapes: [[37], [37]], run: (x) => minimum(x(0), x(1)) },
  { name: "neg, abs, sign", shapes: [[37]], run: (x) => concat([x(0).neg(), x(0).abs(), x(0).sign()]) },
  { name: "clamp", shapes: [[37]], run: (x) => x(0).clamp({ min: -1, max: 1 }) },
  { name: "where", shapes: [[37], [37]], run: (x) => where(x(0).greater(x(1)), x(0), x(1)) },
  { name: "comparisons", shapes: [[37], [37]], run: (x) => x(0).lessEqual(x(1)).cast("i32") },
  { name: "cast to f32", shapes: [[37]], run: (x) => x(0).cast("f32") },
  ...(["sum", "max", "min"] as const).flatMap((kind): DTypeCase[] => [
    { name: `${kind} of rows`, shapes: [[7, 300]], run: (x) => x(0)[kind]({ axes: -1 }) },
    { name: `${kind} of columns`, shapes: [[70, 9]], run: (x) => x(0)[kind]({ axes: 0 }) },
    { name: `${kind} of all`, shapes: [[3, 5, 7]], run: (x) => x(0)[kind]() },
  ]),
  { name: "prod", shapes: [[9, 4]], run: (x) => x(0).prod({ axes: -1 }) },
  { name: "argmax", shapes: [[4, 50]], run: (x) => x(0).argmax({ axis: -1 }) },
  { name: "transpose", shapes: [[3, 4, 5]], run: (x) => x(0).transpose([2, 0, 1]) },
  { name: "slice", shapes: [[7, 9]], run: (x) => x(0).slice([1, 0], [3, 4], { steps: [2, 2] }) },
  { name: "pad", shapes: [[7]], run: (x) => pad(x(0), [[2, 3]], { value: 1 }) },
  { name: "tril", shapes: [[5, 6]], run: (x) => tril(x(0)) },
  { name: "take", shapes: [[5, 33]], run: (x, device) => take(x(0), ids(device, [4, 0, 9, 4], [2, 2])) },
  {
    name: "take of axis 1",
    shapes: [[5, 7]],
    run: (x, device) => take(x(0), ids(device, [6, 0, 3], [3]), { axis: 1 }),
  },
  { name: "gather", shapes: [[4, 5]], run: (x, device) => gather(x(0), ids(device, [0, 4, 3, 1], [4, 1])) },
  {
    name: "scatterAdd",
    shapes: [
      [2, 5],
      [2, 3],
    ],
    run: (x, device) => scatterAdd(x(0), ids(device, [0, 4, 4, 1, 1, 9], [2, 3]), x(1)),
  },
  { name: "topK", shapes: [[3, 20]], run: (x) => topK(x(0), 4).values },
  { name: "sort", shapes: [[3, 20]], run: (x) => sort(x(0)).indices },
  {
    name: "writeInto",
    shapes: [
      [4, 6],
      [2, 3],
    ],
    run(x) {
      const target = x(0).mul(1);
      writeInto(target, x(1), { starts: [1, 2] });
      return target;
    },
  },
];

const floatCases: readonly DTypeCase[] = [
  { name: "div", shapes: [[5, 9], [9]], run: (x) => div(x(0), x(1)) },
  ...(["exp", "tanh", "sigmoid", "erf", "sin", "cos", "square", "floor"] as const).map((kind) => ({
    name: kind,
    shapes: [[41]],
    run: (x: (index: number) => Tensor) => x(0)[kind](),
  })),
  ...(["log", "sqrt", "rsqrt", "reciprocal"] as const).map((kind) => ({
    name: kind,
    shapes: [[41]],
    run: (x: (index: number) => Tensor) => x(0).abs()[kind](),
  })),
  { name: "cast to i32", shapes: [[37]], run: (x) => x(0).cast("i32") },
  { name: "mean", shapes: [[7, 300]], run: (x) => x(0).mean({ axes: -1 }) },
  {
    name: "mean whose sum leaves the range of f16",
    shapes: [[7, 300]],
    run: (x) => x(0).abs().add(1000).mean({ axes: -1 }),
  },
  { name: "cumsum", shapes: [[3, 17]], run: (x) => cumsum(x(0)) },
  { name: "softmax", shapes: [[5, 70]], run: (x) => softmax(x(0)) },
  { name: "softmax of axis 0", shapes: [[5, 7]], run: (x) => softmax(x(0), { axis: 0 }) },
  { name: "logSoftmax", shapes: [[5, 70]], run: (x) => logSoftmax(x(0)) },
  { name: "rmsNorm", shapes: [[5, 70], [70]], run: (x) => rmsNorm(x(0), x(1)) },
  {
    name: "layerNorm",
    shapes: [[5, 70], [70], [70]],
    run: (x) => layerNorm(x(0), { weight: x(1), bias: x(2) }),
  },
  { name: "embedding", shapes: [[9, 6]], run: (x, device) => embedding(ids(device, [3, 0, 8], [3]), x(0)) },
  {
    name: "crossEntropy",
    shapes: [[4, 21]],
    run: (x, device) => crossEntropy(x(0), ids(device, [3, -100, 20, 0], [4]), { reduction: "none" }),
  },
  ...[1, 5, 33].flatMap((rows): DTypeCase[] => [
    {
      name: `matmul of ${rows} rows`,
      shapes: [
        [rows, 65],
        [65, 34],
      ],
      run: (x) => matmul(x(0), x(1)),
    },
    {
      name: `matmul of ${rows} rows, both transposed`,
      shapes: [
        [65, rows],
        [34, 65],
      ],
      run: (x) => matmul(x(0), x(1), { transposeA: true, transposeB: true }),
    },
    {
      name: `matmul of ${rows} rows with its gradients`,
      shapes: [
        [2, rows, 17],
        [2, 17, 6],
      ],
      run(x) {
        const loss = (pair: readonly [Tensor, Tensor]) => matmul(pair[0], pair[1]).sum();
        const { grad } = valueAndGrad(loss)([x(0), x(1)]);
        return concat(grad.map((leaf) => leaf.reshape([-1])));
      },
    },
    {
      name: `f32 times half, ${rows} rows`,
      shapes: [
        [rows, 65],
        [65, 34],
      ],
      run: (x) => matmul(x(0).cast("f32"), x(1)),
    },
    ...[false, true].map(
      (transposeA): DTypeCase => ({
        name: `gradients of f32 times half, ${rows} rows, transposeA ${transposeA}`,
        shapes: [transposeA ? [17, rows] : [rows, 17], [6, 17]],
        run(x) {
          const loss = (pair: readonly [Tensor, Tensor]) =>
            matmul(pair[0], pair[1], { transposeA, transposeB: true }).sum();
          const { grad } = valueAndGrad(loss)([x(0).cast("f32"), x(1)]);
          return concat(grad.map((leaf) => leaf.reshape([-1]).cast(x(1).dtype)));
        },
      }),
    ),
  ]),
  {
    name: "matmul whose batch has four broadcast patterns",
    shapes: [
      [2, 1, 2, 1, 3, 4],
      [1, 3, 1, 2, 4, 5],
    ],
    run: (x) => matmul(x(0), x(1)),
  },
];

/** Integers stay so small that no product overflows and every f32 sum of them is exact. */
function inputOf(device: Device, { shapes, name }: DTypeCase, index: number, dtype: DType): Tensor {
  const seed = [...name].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) >>> 0, index + 1);
  const x = randn(device, shapes[index] ?? [], { seed, dtype: "f32" });
  return dtype === "i32" ? x.mul(3).cast("i32") : x.cast(dtype);
}

/** Distance of neighbouring numbers of a dtype around `value`. */
function roundingStep(dtype: DType, value: number): number {
  if (dtype === "i32" || dtype === "bool") return 0;
  const [mantissa, minExponent] = dtype === "f16" ? [10, -14] : dtype === "bf16" ? [7, -126] : [23, -126];
  return 2 ** (Math.max(minExponent, Math.floor(Math.log2(Math.abs(value)))) - mantissa);
}

/** Errors of f32 sums whose terms cancel, and of f32 approximations of functions, in units of 1 + |expected|. */
const arithmetic = 4e-6;

async function expectOneStep(actual: Tensor, expected: Tensor): Promise<void> {
  expect({ shape: actual.shape, dtype: actual.dtype }).toEqual({
    shape: expected.shape,
    dtype: expected.dtype,
  });
  const wanted = expected.dataSync();
  for (const [i, value] of (await actual.data()).entries()) {
    const want = wanted[i] ?? Number.NaN;
    const step =
      actual.dtype === "i32" ? 0 : roundingStep(actual.dtype, want) + arithmetic * (1 + Math.abs(want));
    if (!Object.is(value, want) && !(Math.abs(value - want) <= step))
      expect({ i, value }).toEqual({ i, value: want });
  }
}

export const dtypeSuites = [
  { dtype: "f16", cases: [...numberCases, ...floatCases] },
  { dtype: "bf16", cases: [...numberCases, ...floatCases] },
  { dtype: "i32", cases: [...numberCases] },
] as const;

/** Runs a case on the device, op by op and compiled: neither is more than one rounding step from the reference. */
export async function checkDTypeCase(device: Device, example: DTypeCase, dtype: DType): Promise<void> {
  const oracle = reference();
  const inputs = (on: Device) =>
    example.shapes
      .map((_, i) => inputOf(oracle, example, i, dtype))
      .map((x) => tensor(on, x.dataSync(), { shape: x.shape, dtype }));
  const run = (on: Device) => (xs: readonly Tensor[]) => example.run((i) => xs[i] as Tensor, on);
  const expected = run(oracle)(inputs(oracle));
  await expectOneStep(run(device)(inputs(device)), expected);
  await expectOneStep(compile(run(device))(inputs(device)), expected);
}
