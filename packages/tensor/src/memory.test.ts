import { describe, expect, test } from "vitest";
import { testDevices } from "../test/devices.js";
import {
  compile,
  crossEntropy,
  dropout,
  gelu,
  linear,
  logsumexp,
  oneHot,
  randn,
  randomKey,
  relu,
  rmsNorm,
  scope,
  softmax,
  swiGLU,
  type Tensor,
  tensor,
  topK,
  tril,
  valueAndGrad,
  verifyBackend,
} from "./index.js";

describe.each(testDevices)("memory on $name", ({ make }) => {
  test("a scope frees what it does not return, nested scopes hand on what they return", () => {
    const device = make();
    using x = randn(device, [8, 8], { seed: 1 });
    const { buffers } = device.memory();
    const kept = scope(device, () => {
      const inner = scope(device, () => ({ a: x.add(1), n: 3 }));
      x.mul(2);
      return [inner.a.exp(), inner.n] as const;
    });
    expect(device.memory().buffers).toBe(buffers + 1);
    kept[0].dispose();
    expect(device.memory().buffers).toBe(buffers);
    expect(() =>
      scope(device, () => {
        x.add(1);
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(device.memory().buffers).toBe(buffers);
    device.dispose();
  });

  test("a reshaped view keeps the memory alive; disposing twice does nothing", () => {
    const device = make();
    const x = tensor(device, [1, 2, 3, 4]);
    const view = x.reshape([2, 2]);
    x.dispose();
    x.dispose();
    expect([...view.dataSync()]).toEqual([1, 2, 3, 4]);
    expect(device.memory().buffers).toBe(1);
    view.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("forward, gradient, several outputs and a compiled step leave nothing behind", () => {
    const device = make();
    const w = { a: randn(device, [9, 6], { seed: 1 }), n: randn(device, [6], { seed: 2 }) };
    using x = randn(device, [5, 6], { seed: 3 });
    using y = tensor(device, new Int32Array([1, 2, 3, 4, 5]));
    const { buffers } = device.memory();
    const loss = (p: typeof w, input: Tensor) => crossEntropy(p.a.apply(rmsNorm(input, p.n)), y);
    const step = compile((p: typeof w, input: Tensor) => valueAndGrad(loss)(p, input));
    for (const run of [valueAndGrad(loss), step]) {
      for (let i = 0; i < 3; i++) {
        const { value, grad } = run(w, x);
        for (const t of [value, grad.a, grad.n]) t.dispose();
      }
    }
    const { values, indices } = topK(x, 2);
    values.dispose();
    indices.dispose();
    step.dispose();
    expect(device.memory().buffers).toBe(buffers);
    device.dispose();
  });

  test("a tensor may be disposed by the differentiated function before its gradient is computed", () => {
    const device = make();
    using x = tensor(device, [1, 2, 3]);
    const { grad } = valueAndGrad((p: Tensor) => {
      using scale = tensor(device, [2, 3, 4]);
      using scaled = p.mul(scale);
      return scaled.mul(p).sum();
    })(x);
    expect([...grad.dataSync()]).toEqual([4, 12, 24]);
    device.dispose();
  });

  test("verifyBackend agrees with the reference and frees what it made", async () => {
    const device = make();
    const results = await verifyBackend(device);
    expect(results.filter(({ passed }) => !passed)).toEqual([]);
    expect(results.length).toBeGreaterThan(10);
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("composed functions free what they made on the way", () => {
    const device = make();
    using x = randn(device, [4, 6], { seed: 1 });
    using bias = randn(device, [6], { seed: 2 });
    using weight = randn(device, [6, 6], { seed: 3 });
    using ids = tensor(device, new Int32Array([0, 1, 2, 3]));
    using key = randomKey(device, 1);
    const { buffers } = device.memory();
    const composed: Readonly<Record<string, () => Tensor>> = {
      relu: () => relu(x),
      gelu: () => gelu(x),
      swiGLU: () => swiGLU(x, x),
      linear: () => linear(x, weight, bias),
      matmul: () => x.reshape([2, 2, 6]).matmul(weight),
      mean: () => x.mean(),
      clamp: () => x.clamp({ min: 0, max: 1 }),
      softmax: () => softmax(x, { axis: 0 }),
      crossEntropy: () => crossEntropy(x, ids),
      logsumexp: () => logsumexp(x),
      oneHot: () => oneHot(ids, 4),
      tril: () => tril(x),
      dropout: () => dropout(x, { rate: 0.5, key }),
      rmsNorm: () => rmsNorm(x, bias),
    };
    for (const [name, run] of Object.entries(composed)) {
      run().dispose();
      // `x.reshape` in the matmul case is a view of x and no new buffer.
      expect(device.memory().buffers, name).toBe(buffers);
    }
    device.dispose();
  });
});
