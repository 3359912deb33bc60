import {
  add,
  compile,
  concat,
  crossEntropy,
  cumsum,
  type Device,
  div,
  dropout,
  embedding,
  equal,
  expandDims,
  foldIn,
  gather,
  gelu,
  layerNorm,
  logSoftmax,
  logsumexp,
  matmul,
  maximum,
  minimum,
  mul,
  oneHot,
  pad,
  pow,
  randn,
  randomKey,
  relu,
  rmsNorm,
  scatterAdd,
  silu,
  softmax,
  sort,
  split,
  splitKey,
  stack,
  sub,
  swiGLU,
  type Tensor,
  take,
  tensor,
  topK,
  tril,
  triu,
  valueAndGrad,
  where,
  writeInto,
} from "../src/index.js";

/** One op applied to random inputs: every device must agree with the reference on its value and its gradient. */
export interface ConformanceCase {
  readonly name: string;
  /** Shapes of the float inputs. */
  readonly shapes: readonly (readonly number[])[];
  /** Inputs are drawn as 0.5 + |x| where the op needs positive numbers. */
  readonly positive?: boolean;
  /** Gradients are compared too; false where the op has none. */
  readonly differentiable?: boolean;
  run(inputs: readonly Tensor[], device: Device): Tensor;
}

const at = (inputs: readonly Tensor[], i: number): Tensor => {
  const input = inputs[i];
  if (input === undefined) throw new Error(`the case has no input ${i}`);
  return input;
};

type Unary = (x: Tensor, device: Device) => Tensor;
type Binary = (a: Tensor, b: Tensor, device: Device) => Tensor;

const unary = (name: string, run: Unary, options: Partial<ConformanceCase> = {}): ConformanceCase[] =>
  [[7], [3, 5], [2, 3, 33], [1030]].map((shape) => ({
    name: `${name} [${shape}]`,
    shapes: [shape],
    run: (inputs, device) => run(at(inputs, 0), device),
    ...options,
  }));

const binary = (name: string, run: Binary, options: Partial<ConformanceCase> = {}): ConformanceCase[] =>
  (
    [
      [[37], [37]],
      [[4, 9], [9]],
      [
        [4, 9],
        [4, 1],
      ],
      [
        [3, 1, 5],
        [2, 1],
      ],
      [[6, 7], []],
      [
        [1, 130],
        [3, 1],
      ],
    ] as const
  ).map((shapes) => ({
    name: `${name} [${shapes[0]}] [${shapes[1]}]`,
    shapes,
    run: (inputs, device) => run(at(inputs, 0), at(inputs, 1), device),
    ...options,
  }));

const one = (
  name: string,
  shape: readonly number[],
  run: Unary,
  options: Partial<ConformanceCase> = {},
): ConformanceCase => ({
  name,
  shapes: [shape],
  run: (inputs, device) => run(at(inputs, 0), device),
  ...options,
});

const two = (name: string, a: readonly number[], b: readonly number[], run: Binary): ConformanceCase => ({
  name,
  shapes: [a, b],
  run: (inputs, device) => run(at(inputs, 0), at(inputs, 1), device),
});

const ids = (device: Device, values: readonly number[], shape?: readonly number[]) =>
  tensor(device, new Int32Array(values), { shape: shape ?? [values.length] });

const products: ConformanceCase[] = [
  [
    [3, 4],
    [4, 5],
  ],
  [
    [1, 7],
    [7, 1],
  ],
  [
    [17, 33],
    [33, 19],
  ],
  [
    [65, 130],
    [130, 97],
  ],
  [
    [2, 3, 4],
    [2, 4, 5],
  ],
  [
    [2, 1, 3, 4],
    [5, 4, 6],
  ],
  [
    [2, 5, 8],
    [8, 3],
  ],
  [
    [4, 0],
    [0, 3],
  ],
  [
    [2, 1, 2, 1, 3, 4],
    [1, 3, 1, 2, 4, 5],
  ],
].map(([a = [], b = []]) => two(`matmul [${a}] [${b}]`, a, b, (x, y) => matmul(x, y)));

const flip = (shape: readonly number[]) => [...shape.slice(0, -2), ...shape.slice(-2).reverse()];
const transposedProducts: ConformanceCase[] = [
  [
    [6, 10],
    [10, 7],
  ],
  [
    [3, 5, 9],
    [3, 9, 4],
  ],
  [
    [70, 66],
    [66, 34],
  ],
].flatMap(([a = [], b = []]) => [
  two(`matmul aT [${a}] [${b}]`, flip(a), b, (x, y) => matmul(x, y, { transposeA: true })),
  two(`matmul bT [${a}] [${b}]`, a, flip(b), (x, y) => matmul(x, y, { transposeB: true })),
  two(`matmul aT bT [${a}] [${b}]`, flip(a), flip(b), (x, y) =>
    matmul(x, y, { transposeA: true, transposeB: true }),
  ),
]);

const reductions: ConformanceCase[] = (
  [
    [[5], 0],
    [[4, 6], 0],
    [[4, 6], 1],
    [[3, 4, 5], 1],
    [
      [3, 4, 5],
      [0, 2],
    ],
    [
      [2, 3, 4, 5],
      [0, 1],
    ],
    [[3, 1000], -1],
    [[500, 3], 0],
  ] as const
).flatMap(([shape, axes]) =>
  (["sum", "mean", "max", "min", "prod"] as const)
    .filter((kind) => kind !== "prod" || shape.every((extent) => extent < 100))
    .flatMap((kind) => [
      one(`${kind} [${shape}] over ${axes}`, shape, (x) => x[kind]({ axes })),
      one(`${kind} [${shape}] over ${axes}, kept`, shape, (x) => x[kind]({ axes, keepDims: true })),
    ]),
);

/** Every op of the package, each over several shapes. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...unary("neg", (x) => x.neg()),
  ...unary("abs", (x) => x.abs()),
  ...unary("sign", (x) => x.sign(), { differentiable: false }),
  ...unary("floor", (x) => x.mul(3).floor(), { differentiable: false }),
  ...unary("reciprocal", (x) => x.reciprocal(), { positive: true }),
  ...unary("square", (x) => x.square()),
  ...unary("exp", (x) => x.exp()),
  ...unary("log", (x) => x.log(), { positive: true }),
  ...unary("sqrt", (x) => x.sqrt(), { positive: true }),
  ...unary("rsqrt", (x) => x.rsqrt(), { positive: true }),
  ...unary("tanh", (x) => x.tanh()),
  ...unary("sigmoid", (x) => x.sigmoid()),
  ...unary("erf", (x) => x.erf()),
  ...unary("sin", (x) => x.sin()),
  ...unary("cos", (x) => x.cos()),
  ...unary("clamp", (x) => x.clamp({ min: -0.4, max: 0.7 })),
  ...unary("relu", relu),
  ...unary("silu", silu),
  ...unary("gelu", (x) => gelu(x)),
  ...unary("gelu tanh", (x) => gelu(x, { approximate: "tanh" })),
  ...unary("cast to i32 and back", (x) => x.mul(10).cast("i32").cast(x.dtype), { differentiable: false }),
  ...unary("softmax", (x) => softmax(x)),
  ...unary("logSoftmax", (x) => logSoftmax(x)),
  ...unary("cumsum", (x) => cumsum(x)),
  ...unary("argmax", (x) => x.argmax(), { differentiable: false }),
  ...unary("argmin", (x) => x.argmin(), { differentiable: false }),
  ...binary("add", add),
  ...binary("sub", sub),
  ...binary("mul", mul),
  ...binary("div", div, { positive: true }),
  ...binary("pow", pow, { positive: true }),
  ...binary("maximum", maximum),
  ...binary("minimum", minimum),
  ...binary("swiGLU", swiGLU),
  ...binary("where", (a, b) => where(a.greater(0), a.square(), b)),
  ...binary(
    "comparisons",
    (a, b) => a.less(b).logicalOr(equal(a, b)).logicalAnd(b.greaterEqual(0).logicalNot()).cast("i32"),
    {
      differentiable: false,
    },
  ),
  one("pow of a number", [11], (x) => pow(2, x)),
  one("softmax of axis 0", [5, 4], (x) => softmax(x, { axis: 0 })),
  one("logsumexp", [4, 6], (x) => logsumexp(x, { axes: -1 })),
  one("logsumexp of all, kept", [4, 6], (x) => logsumexp(x, { keepDims: true })),
  one("argmax of axis 0", [5, 4], (x) => x.argmax({ axis: 0, keepDims: true }), { differentiable: false }),
  ...products,
  ...transposedProducts,
  ...reductions,
  one("reshape", [4, 6], (x) => x.reshape([3, -1])),
  one("transpose", [4, 6], (x) => x.transpose()),
  one("transpose, large", [70, 45], (x) => x.transpose()),
  one("transpose of heads", [2, 3, 4, 5], (x) => x.transpose([0, 2, 1, 3])),
  one("transpose of all", [2, 3, 4, 5], (x) => x.transpose([3, 1, 0, 2])),
  one("broadcastTo", [3, 1], (x) => x.broadcastTo([2, 3, 4])),
  one("slice with steps", [7, 9], (x) => x.slice([1, 0], [3, 4], { steps: [2, 2] })),
  one("split and join", [6, 5], (x) => concat(split(x, [1, 2, 3]).reverse())),
  one("split in equal parts", [2, 6], (x) => stack(split(x, 3, { axis: 1 }), { axis: 1 })),
  one("pad", [3, 4], (x) =>
    pad(
      x,
      [
        [1, 0],
        [2, 3],
      ],
      { value: 0.5 },
    ),
  ),
  one("tril", [5, 6], (x) => tril(x, { diagonal: 1 })),
  one("triu", [5, 6], (x) => triu(x)),
  two("concat of axis 1", [3, 4], [3, 2], (a, b) => concat([a, b], { axis: 1 })),
  one("take", [5, 3], (x, device) => take(x, ids(device, [4, 0, 4, 2], [2, 2]))),
  one("take of axis 1, one index out of range", [3, 5], (x, device) =>
    take(x, ids(device, [4, 9, 1]), { axis: 1 }),
  ),
  one("gather", [4, 5], (x, device) => gather(x, ids(device, [0, 4, 4, 1, 2, 2, 3, 3], [4, 2]))),
  one("gather of axis 0", [4, 2], (x, device) => gather(x, ids(device, [3, 0, 3, 1], [2, 2]), { axis: 0 })),
  two("scatterAdd", [3, 5], [3, 4], (x, u) =>
    scatterAdd(x, ids(x.device, [0, 4, 4, 1, 2, 2, 3, 3, 1, 1, 1, 0], [3, 4]), u),
  ),
  one("oneHot", [3], (x, device) => oneHot(ids(device, [2, 0, 3]), 4).mul(expandDims(x, 1))),
  one("embedding", [10, 6], (x, device) => embedding(ids(device, [3, 3, 0, 9, 1, 2], [2, 3]), x)),
  one("topK", [3, 8], (x) => topK(x, 3).values),
  one("topK smallest of axis 0", [8, 3], (x) => topK(x, 2, { axis: 0, largest: false }).values),
  one("sort", [2, 9], (x) => sort(x, { descending: true }).values),
  one("sort indices", [2, 9], (x) => sort(x).indices, { differentiable: false }),
  ...[[6], [3, 40], [2, 3, 130]].flatMap((shape) => [
    two(`rmsNorm [${shape}]`, shape, shape.slice(-1), (x, w) => rmsNorm(x, w, { eps: 1e-5 })),
    two(`rmsNorm with offset [${shape}]`, shape, shape.slice(-1), (x, w) => rmsNorm(x, w, { offset: 1 })),
    two(`layerNorm [${shape}]`, shape, shape.slice(-1), (x, w) =>
      layerNorm(x, { weight: w, bias: w.mul(0.5) }),
    ),
    one(`layerNorm without weights [${shape}]`, shape, (x) => layerNorm(x)),
  ]),
  ...(["mean", "sum", "none"] as const).flatMap((reduction) =>
    [0, 0.1].map((labelSmoothing) =>
      one(`crossEntropy ${reduction}, smoothing ${labelSmoothing}`, [2, 3, 21], (x, device) =>
        crossEntropy(x, ids(device, [3, -100, 20, 0, 7, 7], [2, 3]), { reduction, labelSmoothing }),
      ),
    ),
  ),
  one("dropout", [9, 11], (x, device) => dropout(x, { rate: 0.3, key: randomKey(device, 7) })),
  one("dropout by keys that were split and folded", [3, 5], (x, device) => {
    const [first, second] = splitKey(randomKey(device, 7), 2) as [Tensor, Tensor];
    const kept = dropout(x, { rate: 0.3, key: first });
    return dropout(kept, { rate: 0.5, key: foldIn(second, tensor(device, Int32Array.of(9)).reshape([])) });
  }),
  one(
    "writeInto",
    [4, 6],
    (x) => {
      const target = x.mul(2);
      writeInto(target, x.narrow(1, 2, 5).narrow(0, 1, 3), { starts: [2, 1] });
      return target;
    },
    { differentiable: false },
  ),
];

export interface Outcome {
  readonly value: readonly number[];
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly grads: readonly (readonly number[])[];
}

/** Makes the inputs of a case from its name: the same numbers on every device. */
export function inputsOf(device: Device, { shapes, positive = false, name }: ConformanceCase): Tensor[] {
  const seed = [...name].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) >>> 0, 7);
  return shapes.map((shape, i) => {
    const x = randn(device, shape, { seed: seed + i, dtype: "f32" }).cast(device.defaultFloat);
    return positive ? x.abs().add(0.5) : x;
  });
}

/** Sum of the result times fixed weights, so that every element of the gradient matters. */
function weightedSum(result: Tensor): Tensor {
  return result.mul(randn(result.device, result.shape, { seed: 99, dtype: "f32" }).cast(result.dtype)).sum();
}

/** Runs a case on a device, directly or compiled. */
export async function outcomeOf(
  device: Device,
  test: ConformanceCase,
  mode: "eager" | "compiled",
): Promise<Outcome> {
  const inputs = inputsOf(device, test);
  const run = (args: readonly Tensor[]) => test.run(args, device);
  const withGrad = (args: readonly Tensor[]) =>
    valueAndGrad((xs: readonly Tensor[]) => weightedSum(run(xs)))(args).grad;
  const forward = mode === "compiled" ? compile(run) : run;
  const backward = mode === "compiled" ? compile(withGrad) : withGrad;
  const result = forward(inputs);
  const grads = test.differentiable === false ? [] : backward(inputs);
  return {
    value: Array.from(await result.data()),
    shape: result.shape,
    dtype: result.dtype,
    grads: await Promise.all(grads.map(async (grad) => Array.from(await grad.data()))),
  };
}

/** Gradient of a case by central differences, in float64 on the given (reference) device. */
export async function finiteDifferences(device: Device, test: ConformanceCase): Promise<number[][]> {
  const inputs = inputsOf(device, test);
  const step = 1e-6;
  const grads: number[][] = [];
  for (const [i, input] of inputs.entries()) {
    const values = Float64Array.from(input.dataSync());
    const grad: number[] = [];
    for (let j = 0; j < values.length; j++) {
      const shifted = (delta: number) => {
        const moved = values.slice();
        moved[j] = (moved[j] ?? 0) + delta;
        const args = inputs.map((x, k) => (k === i ? tensor(device, moved, { shape: input.shape }) : x));
        return weightedSum(test.run(args, device)).dataSync()[0] ?? Number.NaN;
      };
      grad.push((shifted(step) - shifted(-step)) / (2 * step));
    }
    grads.push(grad);
  }
  return grads;
}

/** The largest difference, in units of 1 + |expected|. */
export function largestDifference(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  return actual.reduce((worst, value, i) => {
    const want = expected[i] ?? Number.NaN;
    const difference =
      Object.is(value, want) || value === want ? 0 : Math.abs(value - want) / (1 + Math.abs(want));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
  }, 0);
}
