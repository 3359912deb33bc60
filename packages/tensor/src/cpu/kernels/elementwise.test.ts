import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Expression, ExpressionNode, ScalarOp } from "../../expression.js";
import { evaluateElementwise } from "../../ops/elementwise.js";
import { hostArray } from "../../reference/host-array.js";
import type { TensorType } from "../../shape.js";
import { elementwiseKernel } from "./elementwise.js";
import type { LaneDType } from "./lanes.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

const input = (index: number, dtype: LaneDType): ExpressionNode => ({ op: "input", index, dtype });
const constant = (value: number, dtype: LaneDType): ExpressionNode => ({ op: "constant", value, dtype });
const call = (op: ScalarOp | "cast", args: number[], dtype: LaneDType) =>
  ({ op, args, dtype }) as ExpressionNode;
const program = (...nodes: ExpressionNode[]): Expression => ({ nodes, outputs: [nodes.length - 1] });

/** Worst error of the kernel against the float64 loops, on every machine, whole and split in three. */
function compare(expression: Expression, inputs: TensorType[], shape: readonly number[], scale = 1): number {
  const arrays = inputs.map((type, i) =>
    randomArray(type.shape, type.dtype as LaneDType, { seed: i + 1, scale }),
  );
  const types = expression.outputs.map((i) => ({ shape, dtype: expression.nodes[i]?.dtype ?? "f32" }));
  const expected = types.map(hostArray);
  evaluateElementwise(expression, arrays, expected);
  const typed = inputs.map(({ shape, dtype }) => ({ shape, dtype: dtype as LaneDType }));
  const errors = machines.flatMap((features) =>
    [1, 3].flatMap((ranges) => {
      const kernel = elementwiseKernel(expression, { inputs: typed, shape }, features);
      const outputs = runKernel(kernel, arrays, types, { ranges });
      return outputs.map((output, j) => worstError(output, expected[j] ?? output));
    }),
  );
  return Math.max(...errors);
}

const add = (dtype: LaneDType) => program(input(0, dtype), input(1, dtype), call("add", [0, 1], dtype));

describe("elementwiseKernel broadcasts", () => {
  test.each([
    [[], [], []],
    [[1], [7], [7]],
    [
      [5, 1],
      [1, 9],
      [5, 9],
    ],
    [[3, 17], [17], [3, 17]],
    [
      [3, 17],
      [3, 1],
      [3, 17],
    ],
    [
      [2, 3, 5],
      [3, 1],
      [2, 3, 5],
    ],
    [
      [2, 1, 4, 1],
      [1, 3, 1, 5],
      [2, 3, 4, 5],
    ],
    [[0, 4], [4], [0, 4]],
    [
      [4, 0],
      [4, 1],
      [4, 0],
    ],
    [
      [2, 5000],
      [2, 1],
      [2, 5000],
    ],
    [[9001], [9001], [9001]],
  ])("%j + %j", (a, b, shape) => {
    expect(
      compare(
        add("f32"),
        [
          { shape: a, dtype: "f32" },
          { shape: b, dtype: "f32" },
        ],
        shape,
      ),
    ).toBeLessThan(1e-7);
  });

  test("walks explicit strides", () => {
    const x = randomArray([5, 7], "f32");
    const y = randomArray([7, 5], "f32", { seed: 2 });
    const inputs = [
      { dtype: "f32", shape: [7, 5], strides: [1, 7] },
      { dtype: "f32", shape: [7, 5] },
    ] as const;
    for (const features of machines) {
      const kernel = elementwiseKernel(add("f32"), { inputs, shape: [7, 5] }, features);
      const [sum] = runKernel(kernel, [x, y], [{ shape: [7, 5], dtype: "f32" }]);
      for (let i = 0; i < 35; i++) {
        const transposed = x.data[(i % 5) * 7 + Math.floor(i / 5)] ?? 0;
        expect(sum?.data[i]).toBe(Math.fround(transposed + (y.data[i] ?? 0)));
      }
    }
  });

  test("any broadcast of any rank", () => {
    const extents = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 });
    fc.assert(
      fc.property(
        extents,
        fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        fc.nat(4),
        (shape, ones, drop) => {
          const part = (offset: number) => shape.map((n, i) => (ones[offset + i] ? 1 : n));
          const inputs = [part(0), part(4).slice(Math.min(drop, shape.length))];
          const types = inputs.map((s) => ({ shape: s, dtype: "f32" as const }));
          expect(compare(add("f32"), types, shape)).toBeLessThan(1e-7);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("elementwiseKernel computes", () => {
  const floats: LaneDType[] = ["f32", "f16", "bf16"];
  const unary: ScalarOp[] = [
    "neg",
    "abs",
    "sign",
    "floor",
    "reciprocal",
    "square",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "tanh",
    "sigmoid",
    "erf",
    "sin",
    "cos",
  ];
  // Half floats may round the other way next to a tie.
  const tolerance = { f32: 1e-6, f16: 1e-3, bf16: 8e-3 } as Record<LaneDType, number>;

  test.each(floats.flatMap((dtype) => unary.map((op) => ({ dtype, op }))))(
    "$op of $dtype",
    ({ dtype, op }) => {
      const expression = program(input(0, dtype), call(op, [0], dtype));
      expect(compare(expression, [{ shape: [37], dtype }], [37])).toBeLessThan(tolerance[dtype] ?? 0);
    },
  );

  const binary: ScalarOp[] = ["add", "sub", "mul", "div", "pow", "max", "min"];
  test.each(floats.flatMap((dtype) => binary.map((op) => ({ dtype, op }))))(
    "$op of $dtype",
    ({ dtype, op }) => {
      const types = [
        { shape: [37], dtype },
        { shape: [37], dtype },
      ];
      const expression = program(input(0, dtype), input(1, dtype), call(op, [0, 1], dtype));
      expect(compare(expression, types, [37])).toBeLessThan(tolerance[dtype] ?? 0);
    },
  );

  const integers: LaneDType[] = ["i32", "u32", "i8", "u8"];
  const integerOps: ScalarOp[] = ["add", "sub", "mul", "div", "max", "min"];
  test.each(integers.flatMap((dtype) => integerOps.map((op) => ({ dtype, op }))))(
    "$op of $dtype",
    ({ dtype, op }) => {
      const types = [
        { shape: [203], dtype },
        { shape: [203], dtype },
      ];
      expect(compare(program(input(0, dtype), input(1, dtype), call(op, [0, 1], dtype)), types, [203])).toBe(
        0,
      );
    },
  );
  test.each(
    integers.flatMap((dtype) =>
      (["neg", "abs", "sign", "floor", "square"] as const).map((op) => ({ dtype, op })),
    ),
  )("$op of $dtype", ({ dtype, op }) => {
    expect(compare(program(input(0, dtype), call(op, [0], dtype)), [{ shape: [203], dtype }], [203])).toBe(0);
  });

  const comparisons: ScalarOp[] = ["eq", "ne", "lt", "le", "gt", "ge"];
  test.each([...floats, ...integers].flatMap((dtype) => comparisons.map((op) => ({ dtype, op }))))(
    "$op of $dtype",
    ({ dtype, op }) => {
      const types = [
        { shape: [203], dtype },
        { shape: [203], dtype },
      ];
      expect(compare(program(input(0, dtype), input(1, dtype), call(op, [0, 1], "bool")), types, [203])).toBe(
        0,
      );
    },
  );

  test.each(["and", "or"] as const)("%s of bools", (op) => {
    const types = [
      { shape: [33], dtype: "bool" as const },
      { shape: [33], dtype: "bool" as const },
    ];
    expect(compare(program(input(0, "bool"), input(1, "bool"), call(op, [0, 1], "bool")), types, [33])).toBe(
      0,
    );
  });

  test("not and where", () => {
    const expression = program(
      input(0, "bool"),
      input(1, "f32"),
      constant(-7.5, "f32"),
      call("not", [0], "bool"),
      call("where", [3, 1, 2], "f32"),
    );
    expect(
      compare(
        expression,
        [
          { shape: [9, 1], dtype: "bool" },
          { shape: [9, 11], dtype: "f32" },
        ],
        [9, 11],
      ),
    ).toBe(0);
  });

  const all: LaneDType[] = [...floats, ...integers, "bool"];
  test.each(all.flatMap((from) => all.map((to) => ({ from, to }))))(
    "cast of $from to $to",
    ({ from, to }) => {
      const expression = program(input(0, from), call("cast", [0], to));
      expect(compare(expression, [{ shape: [205], dtype: from }], [205], 60)).toBe(0);
    },
  );

  test("casts at the edges", () => {
    const x = hostArray({ shape: [8], dtype: "f32" });
    x.data.set([Number.NaN, Infinity, -Infinity, 3e9, -1.9, 65519, 65520, 1e-7]);
    const cast = (to: LaneDType) => {
      const kernel = elementwiseKernel(
        program(input(0, "f32"), call("cast", [0], to)),
        { inputs: [{ shape: [8], dtype: "f32" }], shape: [8] },
        machines[0] as (typeof machines)[0],
      );
      return Array.from(runKernel(kernel, [x], [{ shape: [8], dtype: to }])[0]?.data ?? []);
    };
    expect(cast("i32")).toEqual([0, 2147483647, -2147483648, 2147483647, -1, 65519, 65520, 0]);
    expect(cast("u32")).toEqual([0, 4294967295, 2147483648, 3e9, 4294967295, 65519, 65520, 0]);
    expect(cast("f16")).toEqual([
      Number.NaN,
      Infinity,
      -Infinity,
      Infinity,
      -1.900390625,
      65504,
      Infinity,
      2 ** -23,
    ]);
    expect(cast("bool")).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  });

  test.each([1, 2, 3, 4, -1, 0.5, 0, 2.5])("power %d, also as a constant", (exponent) => {
    const expression = program(input(0, "f32"), constant(exponent, "f32"), call("pow", [0, 1], "f32"));
    expect(compare(expression, [{ shape: [41], dtype: "f32" }], [41])).toBeLessThan(1e-6);
  });

  test("several outputs of a fused chain, in place", () => {
    const expression: Expression = {
      nodes: [
        input(0, "f32"),
        input(1, "f32"),
        constant(0.5, "f32"),
        call("mul", [0, 2], "f32"),
        call("add", [3, 1], "f32"),
        call("gt", [4, 0], "bool"),
      ],
      outputs: [4, 5],
    };
    const types = [
      { shape: [6, 5], dtype: "f32" as const },
      { shape: [5], dtype: "f32" as const },
    ];
    expect(compare(expression, types, [6, 5])).toBeLessThan(1e-7);
    const arrays = types.map((type, i) => randomArray(type.shape, "f32", { seed: i + 1 }));
    const outputs = [
      { shape: [6, 5], dtype: "f32" as const },
      { shape: [6, 5], dtype: "bool" as const },
    ];
    for (const features of machines) {
      const kernel = elementwiseKernel(expression, { inputs: types, shape: [6, 5] }, features);
      const apart = runKernel(kernel, arrays, outputs);
      expect(runKernel(kernel, arrays, outputs, { inPlace: { 0: 0 } })).toEqual(apart);
    }
  });

  test("one module serves every length and constant", () => {
    const kernelOf = (n: number, value: number) =>
      elementwiseKernel(
        program(input(0, "f32"), constant(value, "f32"), call("mul", [0, 1], "f32")),
        { inputs: [{ shape: [n], dtype: "f32" }], shape: [n] },
        machines[0] as (typeof machines)[0],
      );
    expect(kernelOf(3, 2)?.steps[0]?.module.key).toBe(kernelOf(99, 0.1)?.steps[0]?.module.key);
    expect(kernelOf(3, 2)?.steps[0]?.module.emit()).toEqual(kernelOf(99, 0.1)?.steps[0]?.module.emit());
  });

  test("has no kernel for f64 or exp of integers", () => {
    const expression = program(input(0, "i32"), call("exp", [0], "i32"));
    const shapes = { inputs: [{ shape: [1], dtype: "i32" as const }], shape: [1] };
    expect(elementwiseKernel(expression, shapes, machines[0] as (typeof machines)[0])).toBeUndefined();
  });
});
