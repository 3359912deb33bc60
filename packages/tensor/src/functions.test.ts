import { expect, test } from "vitest";
import type { Tensor } from "./index.js";
import * as heddle from "./index.js";

const device = heddle.reference();
const x = heddle.tensor(device, [
  [0.5, 2, 1],
  [3, 0.25, 4],
]);
const ids = heddle.tensor(device, new Int32Array([1, 0]));

/** Every primitive op that is both a function and a method, with arguments after the tensor. */
const twins: Readonly<Record<string, readonly unknown[]>> = {
  add: [2],
  sub: [2],
  mul: [2],
  div: [2],
  pow: [2],
  maximum: [1],
  minimum: [1],
  equal: [2],
  notEqual: [2],
  less: [2],
  lessEqual: [2],
  greater: [2],
  greaterEqual: [2],
  neg: [],
  abs: [],
  sign: [],
  floor: [],
  reciprocal: [],
  square: [],
  exp: [],
  log: [],
  sqrt: [],
  rsqrt: [],
  tanh: [],
  sigmoid: [],
  erf: [],
  sin: [],
  cos: [],
  clamp: [{ min: 1 }],
  cast: ["i32"],
  sum: [{ axes: 0 }],
  mean: [{ axes: 0 }],
  max: [{ axes: 0 }],
  min: [{ axes: 0 }],
  prod: [{ axes: 0 }],
  argmax: [],
  argmin: [],
  logsumexp: [{ axes: -1 }],
  cumsum: [],
  softmax: [],
  logSoftmax: [],
  matmul: [x.transpose()],
  reshape: [[3, 2]],
  transpose: [],
  slice: [
    [0, 1],
    [2, 2],
  ],
  broadcastTo: [[2, 2, 3]],
  split: [[1, 2], { axis: 1 }],
  pad: [
    [
      [0, 1],
      [1, 0],
    ],
  ],
  expandDims: [1],
  squeeze: [],
  take: [ids],
  gather: [heddle.tensor(device, new Int32Array([2, 0]), { shape: [2, 1] })],
  topK: [2],
  sort: [],
};

const numbersOf = (result: unknown): number[][] =>
  heddle.flattenTree<unknown, unknown>(result).leaves.map((leaf) => Array.from((leaf as Tensor).dataSync()));

test.each(Object.entries(twins))("%s is a function and a method", (name, args) => {
  const asFunction = (heddle as unknown as Record<string, (...all: unknown[]) => unknown>)[name];
  const asMethod = (x as unknown as Record<string, (...all: unknown[]) => unknown>)[name];
  expect(numbersOf(asFunction?.(x, ...args))).toEqual(numbersOf(asMethod?.call(x, ...args)));
  expect(numbersOf(asFunction?.(x, ...args)).flat().length).toBeGreaterThan(0);
});

test("mean refuses whole numbers, whose mean is none", () => {
  expect(() => ids.mean()).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: mean: a float tensor is needed; got i32[2]. Convert it with \`.cast("f32")\`.]`,
  );
});
