import { expect, test } from "vitest";
import {
  checkpoint,
  crossEntropy,
  gelu,
  matmul,
  randn,
  reference,
  rmsNorm,
  scope,
  softmax,
  type Tensor,
  tensor,
  valueAndGrad,
} from "./index.js";
import { philox, randomWords } from "./philox.js";

test("philox gives the published words", () => {
  expect(philox([0, 0, 0, 0], [0, 0]).map((word) => word.toString(16))).toEqual([
    "6627e8d5",
    "e169c58d",
    "bc57ac4c",
    "9b00dbd8",
  ]);
  const ones = 0xffffffff;
  expect(philox([ones, ones, ones, ones], [ones, ones]).map((word) => word.toString(16))).toEqual([
    "408f276d",
    "41c83b0e",
    "a20bc7c6",
    "6d5451fd",
  ]);
});

test("the fast words are those of the readable generator", () => {
  for (const key of [
    [0, 0],
    [0xdeadbeef, 0x9e3779b9],
  ] as const) {
    const words = randomWords(key, 4001, 2);
    for (let block = 0; block * 4 < words.length; block++) {
      expect([...words.subarray(block * 4, block * 4 + 4)]).toEqual(
        philox([block, 0, 0, 2], key).slice(0, words.length - block * 4),
      );
    }
  }
});

test("value and gradient of a small network, and no leak", async () => {
  const device = reference();
  const w = {
    a: randn(device, [4, 3], { seed: 1 }),
    b: randn(device, [5, 4], { seed: 2 }),
    n: randn(device, [4], { seed: 5 }),
  };
  const x = randn(device, [2, 3], { seed: 3 });
  const y = tensor(device, new Int32Array([1, 4]));
  const before = device.memory().buffers;
  const block = (p: { a: Tensor; n: Tensor }, input: Tensor) => rmsNorm(gelu(p.a.apply(input)), p.n);
  const loss = (p: typeof w, input: Tensor) => crossEntropy(p.b.apply(block(p, input)), y);
  const lossCheckpointed = (p: typeof w, input: Tensor) =>
    crossEntropy(p.b.apply(checkpoint(block)(p, input)), y);
  const { value, grad } = valueAndGrad(loss)(w, x);
  const again = valueAndGrad(lossCheckpointed)(w, x);
  expect(device.memory().buffers).toBe(before + 8);
  expect(again.value.dataSync()).toEqual(value.dataSync());
  for (const key of ["a", "b", "n"] as const) {
    expect(again.grad[key].dataSync()).toEqual(grad[key].dataSync());
    const values = w[key].dataSync();
    for (let i = 0; i < values.length; i++) {
      const at = (delta: number) => {
        const moved = values.slice();
        moved[i] = (moved[i] ?? 0) + delta;
        return scope(
          device,
          () => loss({ ...w, [key]: tensor(device, moved, { shape: w[key].shape }) }, x).dataSync()[0] ?? 0,
        );
      };
      expect(grad[key].dataSync()[i]).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 7);
    }
  }
});

test("second derivatives by nested tapes", () => {
  const device = reference();
  const x = tensor(device, [0.7]);
  const second = valueAndGrad((p: Tensor) =>
    valueAndGrad((q: Tensor) => q.pow(3).mul(q.sin()).sum())(p).grad.sum(),
  )(x);
  const v = 0.7;
  const expected = 6 * v * Math.sin(v) + 6 * v * v * Math.cos(v) - v ** 3 * Math.sin(v);
  expect(second.grad.dataSync()[0]).toBeCloseTo(expected, 10);
});

test("matmul and softmax on the reference device", () => {
  const device = reference();
  const a = tensor(device, [
    [1, 2],
    [3, 4],
  ]);
  expect([...matmul(a, a, { transposeB: true }).dataSync()]).toEqual([5, 11, 11, 25]);
  const rows = softmax(a).sum({ axes: 1 }).dataSync();
  expect(rows[0]).toBeCloseTo(1, 15);
});
