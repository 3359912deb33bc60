import {
  compile,
  cpu,
  type Device,
  disposeTree,
  type OpCall,
  randn,
  reference,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices, worstExcess } from "../test/devices.js";
import {
  type Arrays,
  caseArrays,
  type GoldenCase,
  goldenCases,
  goldenOptions,
  goldenRules,
  goldenTensor,
  longCases,
} from "../test/golden/cases.js";
import { attention, attentionWithLse } from "./attention.js";
import { flashAttention, flashAttentionBackward } from "./flash.js";
import { seenKeys } from "./mask-sees.js";
import { allOf, causal, padding, slidingWindow } from "./masks.js";
import { naiveAttention } from "./naive.js";

type Weights = Readonly<Record<"q" | "k" | "v", Tensor>> & {
  readonly bias?: Tensor;
  readonly sinks?: Tensor;
};

/** Gradients of sum(out * d_out) with respect to everything that has one. */
function gradients(device: Device, which: GoldenCase, arrays: Arrays): Weights {
  const { mask, ...rules } = goldenRules(device, arrays);
  const weights: Weights = {
    q: goldenTensor(device, arrays, "q"),
    k: goldenTensor(device, arrays, "k"),
    v: goldenTensor(device, arrays, "v"),
    ...rules,
  };
  const dOut = goldenTensor(device, arrays, "d_out");
  const loss = ({ q, k, v, bias, sinks }: Weights) =>
    attention(q, k, v, goldenOptions(which, { mask, bias, sinks })).mul(dOut).sum();
  return valueAndGrad(loss)(weights).grad;
}

function forward(device: Device, which: GoldenCase, arrays: Arrays): { out: Tensor; lse: Tensor } {
  const [q, k, v] = ["q", "k", "v"].map((name) => goldenTensor(device, arrays, name)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return attentionWithLse(q, k, v, goldenOptions(which, goldenRules(device, arrays)));
}

describe.each(devices)("goldens on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  /** `large_logits` and `long_*` have scores up to hundreds: their files advise five times the tolerance. */
  const near = (actual: ArrayLike<number>, expected: ArrayLike<number>, factor: number) =>
    expect(worstExcess(actual, expected, factor * tolerance.relative)).toBeLessThanOrEqual(
      factor * tolerance.absolute,
    );

  test.each(goldenCases)("$name: values", (which) => {
    const arrays = caseArrays(which);
    const { out, lse } = forward(device, which, arrays);
    const factor = which.name === "large_logits" ? 5 : 1;
    near(out.dataSync(), arrays.get("out").data, factor);
    near(lse.dataSync(), arrays.get("lse").data, factor);
  });

  test.each(goldenCases)("$name: gradients", (which) => {
    const arrays = caseArrays(which);
    const found = gradients(device, which, arrays);
    const factor = which.name === "large_logits" ? 5 : 1;
    for (const [name, gradient] of Object.entries(found)) {
      if (gradient === undefined || !arrays.has(`d_${name}`)) continue;
      near(gradient.dataSync(), arrays.get(`d_${name}`).data, factor);
    }
  });

  test.each(longCases)("$name: values and gradients", (which) => {
    const arrays = caseArrays(which);
    const rows = arrays.get("rows").data;
    const { out, lse } = forward(device, which, arrays);
    const { q, k, v } = gradients(device, which, arrays);
    near(lse.dataSync(), arrays.get("lse").data, 5);
    for (const [name, found] of Object.entries({ out, d_q: q, d_k: k, d_v: v })) {
      const { data, shape } = { data: found.dataSync(), shape: found.shape };
      near(pickRows(data, shape, rows), arrays.get(`${name}_rows`).data, 5);
      near(sumLast(data, shape), arrays.get(`${name}_rowsum`).data, 10);
    }
  });
});

function pickRows(data: ArrayLike<number>, shape: readonly number[], rows: ArrayLike<number>): number[] {
  const [batch = 0, heads = 0, length = 0, width = 0] = shape;
  const picked: number[] = [];
  for (let head = 0; head < batch * heads; head++) {
    for (const row of Array.from(rows)) {
      for (let i = 0; i < width; i++) picked.push(data[(head * length + row) * width + i] ?? Number.NaN);
    }
  }
  return picked;
}

function sumLast(data: ArrayLike<number>, shape: readonly number[]): number[] {
  const width = shape[3] ?? 1;
  return Array.from({ length: data.length / width }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += data[row * width + i] ?? Number.NaN;
    return sum;
  });
}

describe("attention", () => {
  const device = cpu({ threads: 2 });
  afterAll(() => device.dispose());
  const x = (shape: number[], seed = 1) => randn(device, shape, { seed });

  test("the fast paths run on the cpu device", () => {
    const q = { shape: [1, 4, 64, 32], dtype: "f32" } as const;
    const k = { shape: [1, 2, 64, 32], dtype: "f32" } as const;
    const lse = { shape: [1, 4, 64], dtype: "f32" } as const;
    const mask = { kind: "band", right: 0 } as const;
    const params = { scale: 1, mask, numMaskInputs: 0, hasBias: false, hasSinks: false };
    const forward = { op: flashAttention.spec, params, inputs: [q, k, k], outputs: [q, lse] };
    const backward = {
      op: flashAttentionBackward.spec,
      params: { ...params, wantsBias: false },
      inputs: [q, k, k, lse, lse, q],
      outputs: [q, k, k],
    };
    expect(device.lower(forward as OpCall)).toMatchObject({ kind: "wasm" });
    expect(device.lower(backward as OpCall)).toMatchObject({ kind: "wasm" });
  });

  test("rows with nothing to attend give zeros, a log-sum-exp of -infinity and zero gradients", () => {
    const q = x([2, 1, 3, 4]);
    const mask = padding(
      tensor(device, [
        [true, false, true],
        [false, false, false],
      ]),
    );
    const { out, lse } = attentionWithLse(q, q, q, { mask });
    expect(Array.from(out.dataSync().slice(12))).toEqual(new Array(12).fill(0));
    expect(Array.from(lse.dataSync().slice(3))).toEqual(new Array(3).fill(Number.NEGATIVE_INFINITY));
    const { grad } = valueAndGrad((w: Tensor) => attention(w, w, w, { mask }).sum())(q);
    expect(Array.from(grad.dataSync().slice(12))).toEqual(new Array(12).fill(0));
    expect(grad.dataSync().slice(0, 12).every(Number.isFinite)).toBe(true);
  });

  test("NaN in a seen key shows in the output", () => {
    const q = x([1, 1, 2, 4]);
    const k = q.mul(Number.NaN);
    expect(attention(q, k, q).dataSync().every(Number.isNaN)).toBe(true);
  });

  test("gradients flow through the log-sum-exp", () => {
    const oracle = reference();
    const run = (on: Device) => {
      const q = randn(on, [1, 2, 5, 4], { seed: 1 });
      const k = randn(on, [1, 1, 6, 4], { seed: 2 });
      const weights = { q, k };
      const loss = (w: typeof weights) =>
        attentionWithLse(w.q, w.k, w.k, { mask: causal() }).lse.square().sum();
      return valueAndGrad(loss)(weights).grad;
    };
    const [actual, expected] = [run(device), run(oracle)];
    expect(worstExcess(actual.q.dataSync(), expected.q.dataSync(), 1e-4)).toBeLessThan(1e-5);
    expect(worstExcess(actual.k.dataSync(), expected.k.dataSync(), 1e-4)).toBeLessThan(1e-5);
  });

  test("the gradient op equals the gradient of the naive twin", () => {
    const oracle = reference();
    const weights = {
      q: randn(oracle, [1, 4, 7, 6], { seed: 1 }),
      k: randn(oracle, [1, 2, 9, 6], { seed: 2 }),
      v: randn(oracle, [1, 2, 9, 5], { seed: 3 }),
    };
    const w = randn(oracle, [1, 4, 7, 5], { seed: 4 });
    const options = { mask: causal(), softcap: 1.5, scale: 0.8 };
    const ours = valueAndGrad((t: typeof weights) => attention(t.q, t.k, t.v, options).mul(w).sum())(weights);
    const extents = { batch: 1, numHeads: 4, queryLen: 7, keyLen: 9 };
    const sees = seenKeys(oracle, { kind: "band", right: 0 }, { inputs: [], extents });
    const twin = valueAndGrad((t: typeof weights) =>
      naiveAttention(t.q, { key: t.k, value: t.v, sees }, options).out.mul(w).sum(),
    )(weights);
    for (const name of ["q", "k", "v"] as const) {
      expect(worstExcess(ours.grad[name].dataSync(), twin.grad[name].dataSync(), 0)).toBeLessThan(1e-12);
    }
  });

  test("half floats are widened and come back", () => {
    const q = x([1, 2, 4, 8]).cast("bf16");
    const out = attention(q, q, q);
    expect(out.dtype).toBe("bf16");
    const wide = q.cast("f32");
    expect(worstExcess(out.dataSync(), attention(wide, wide, wide).dataSync(), 2 ** -8)).toBeLessThan(1e-6);
  });

  test.each(["f32", "f16", "bf16"] as const)("%s beside sinks and a bias of the device's float", (dtype) => {
    const weights = {
      q: x([1, 2, 4, 8]).cast(dtype),
      sinks: x([2], 3),
      bias: x([1, 2, 4, 4], 4),
    };
    const { value, grad } = valueAndGrad((w: typeof weights) =>
      attention(w.q, w.q, w.q, { sinks: w.sinks, bias: w.bias }).cast("f32").sum(),
    )(weights);
    expect(Number.isFinite(value.dataSync()[0])).toBe(true);
    expect([grad.q.dtype, grad.sinks.dtype, grad.bias.dtype]).toEqual([
      dtype,
      weights.sinks.dtype,
      weights.bias.dtype,
    ]);
  });

  test("a compiled function gives the same numbers and allocates only its results", () => {
    const q = x([1, 4, 50, 16]);
    const k = x([1, 2, 50, 16], 2);
    const step = compile((a: Tensor, b: Tensor) => attention(a, b, b, { mask: causal() }));
    expect(step(q, k).dataSync()).toEqual(attention(q, k, k, { mask: causal() }).dataSync());
    const before = device.memory().allocations;
    step(q, k).dispose();
    expect(device.memory().allocations).toBe(before + 1);
    step.dispose();
  });

  test("leaks nothing", () => {
    const weights = { q: x([1, 4, 20, 8]), k: x([1, 2, 20, 8]), bias: x([1, 1, 20, 20]) };
    const keyMask = tensor(device, [new Array(20).fill(1)], { dtype: "i32" });
    const before = device.memory().buffers;
    const run = ({ q, k, bias }: typeof weights) =>
      attention(q, k, k, { mask: allOf(causal(), padding(keyMask)), bias, softcap: 3 });
    run(weights).dispose();
    disposeTree(attentionWithLse(weights.q, weights.k, weights.k));
    disposeTree(valueAndGrad((w: typeof weights) => run(w).sum())(weights));
    expect(device.memory().buffers).toBe(before);
  });

  test("extra memory grows linearly with the length, forward and backward", () => {
    const peak = (length: number) => {
      const fresh = cpu({ threads: 1 });
      const q = randn(fresh, [1, 1, length, 8], { seed: 1 });
      disposeTree(valueAndGrad((w: Tensor) => attention(w, w, w, { mask: causal() }).sum())(q));
      const { peakBytes } = fresh.memory();
      fresh.dispose();
      return peakBytes;
    };
    const growth = (peak(2048) - peak(1024)) / (peak(1024) - peak(512));
    expect(growth).toBeGreaterThan(1.8);
    expect(growth).toBeLessThan(2.2);
  });

  test("errors name the rule, the values and the cure", () => {
    const q = x([1, 12, 7, 16]);
    const k = x([1, 4, 7, 16]);
    const keyMask = tensor(device, [[true, false]]);
    expect(() => attention(q, x([1, 5, 7, 16]), x([1, 5, 7, 16]))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: query heads must be a multiple of kv heads; got query [1, 12, 7, 16], key [1, 5, 7, 16], value [1, 5, 7, 16]. Set numKvHeads to 1, 2, 3, 4, 6, 12.]`,
    );
    expect(() => attention(q.reshape([12, 7, 16]), k, k)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: query, key and value must be [batch, heads, seq, headDim]; got query [12, 7, 16], key [1, 4, 7, 16], value [1, 4, 7, 16]. Reshape each to four axes.]`,
    );
    expect(() => attention(q, x([1, 4, 7, 8]), k)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: query and key must have one headDim; got query [1, 12, 7, 16], key [1, 4, 7, 8], value [1, 4, 7, 16]. Project both to the same size.]`,
    );
    expect(() => attention(q, k, x([1, 4, 6, 16]))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: key and value must have the same heads and length; got query [1, 12, 7, 16], key [1, 4, 7, 16], value [1, 4, 6, 16]. Pass the value of every key.]`,
    );
    expect(() => attention(q, x([2, 4, 7, 16]), x([2, 4, 7, 16]))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: query, key and value must have one batch size; got query [1, 12, 7, 16], key [2, 4, 7, 16], value [2, 4, 7, 16]. Repeat or slice the batch axis.]`,
    );
    expect(() => attention(q, k, k, { mask: padding(keyMask) })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: keyMask must be [1, 7]; got keyMask [1, 2]. Reshape it, or broadcast it over the missing axes.]`,
    );
    expect(() => attention(q, k, k, { bias: x([1, 3, 7, 7]) })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: bias must be [1, 12 or 1, 7, 7]; got bias [1, 3, 7, 7]. Reshape it, or broadcast it over the missing axes.]`,
    );
    expect(() => attention(q, k, k, { sinks: x([4]) })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: sinks must be [12]; got sinks [4]. Reshape it, or broadcast it over the missing axes.]`,
    );
    expect(() => attention(q, k.cast("i32"), k)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: query, key and value must be floats of one dtype; got f32, i32, f32. Cast them to one.]`,
    );
    expect(() => attention(q, k, k, { softcap: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: softcap must be a finite number above 0; got softcap 0. Leave it out for the default.]`,
    );
    expect(() => attention(q, k, k, { scale: Number.NaN })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: attention: scale must be a finite number; got scale NaN. Leave it out for the default.]`,
    );
    expect(() => slidingWindow(0)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: slidingWindow: size must be a whole number above 0, because a query sees at least itself; got size 0. Leave the mask out to see everything.]`,
    );
  });
});
