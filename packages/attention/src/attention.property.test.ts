import { rotary } from "@heddle/positional-encodings";
import { cpu, type Device, randn, reference, scope, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices, worstExcess } from "../test/devices.js";
import { attention, attentionWithLse } from "./attention.js";
import { allOf, causal, type Mask, padding, slidingWindow } from "./masks.js";

const shapes = fc.record({
  batch: fc.integer({ min: 1, max: 4 }),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  group: fc.integer({ min: 1, max: 3 }),
  queryLen: fc.integer({ min: 1, max: 60 }),
  keyLen: fc.integer({ min: 1, max: 120 }),
  headDim: fc.integer({ min: 1, max: 40 }),
  valueDim: fc.integer({ min: 1, max: 40 }),
  isCausal: fc.boolean(),
  window: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
  seen: fc.option(fc.integer({ min: 0, max: 120 }), { nil: undefined }),
  softcap: fc.option(fc.constantFrom(0.7, 5), { nil: undefined }),
  hasBias: fc.boolean(),
  distanceRows: fc.constantFrom("none", "one", "each"),
  hasSinks: fc.boolean(),
});
type Which = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

interface Weights {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
  readonly bias?: Tensor;
  readonly distanceBias?: Tensor;
  readonly sinks?: Tensor;
}

function weightsOf(device: Device, which: Which): Weights {
  const { batch, kvHeads, group, queryLen, keyLen, headDim, valueDim } = which;
  const make = (seed: number, shape: number[]) => randn(device, shape, { seed });
  return {
    query: make(1, [batch, kvHeads * group, queryLen, headDim]),
    key: make(2, [batch, kvHeads, keyLen, headDim]),
    value: make(3, [batch, kvHeads, keyLen, valueDim]),
    ...(which.hasBias && { bias: make(4, [1, kvHeads * group, queryLen, keyLen]) }),
    ...(which.distanceRows !== "none" && {
      distanceBias: make(6, [which.distanceRows === "one" ? 1 : kvHeads * group, queryLen + keyLen - 1]),
    }),
    ...(which.hasSinks && { sinks: make(5, [kvHeads * group]) }),
  };
}

function maskOf(device: Device, { batch, keyLen, isCausal, window, seen }: Which): Mask {
  const masks: Mask[] = [];
  if (isCausal) masks.push(causal());
  if (window !== undefined) masks.push(slidingWindow(window));
  if (seen !== undefined) {
    // Batch row b sees `seen - b` keys.
    const rows = Array.from({ length: batch }, (_, b) =>
      Array.from({ length: keyLen }, (_, j) => j < seen - b),
    );
    masks.push(padding(tensor(device, rows)));
  }
  return allOf(...masks);
}

/** Values and gradients of one case. */
function everything(device: Device, which: Which): Record<string, ArrayLike<number>> {
  return scope(device, () => {
    const mask = maskOf(device, which);
    const weights = weightsOf(device, which);
    const run = ({ query, key, value, ...rules }: Weights) =>
      attentionWithLse(query, key, value, { mask, softcap: which.softcap, ...rules });
    const { out, lse } = run(weights);
    const weight = randn(device, out.shape, { seed: 6 });
    const { grad } = valueAndGrad((w: Weights) => run(w).out.mul(weight).sum())(weights);
    const values = Object.entries({ out, lse, ...grad }).map(([name, x]) => [name, x.dataSync()] as const);
    return Object.fromEntries(values) as Record<string, ArrayLike<number>>;
  });
}

describe.each([
  ["as the machine offers", {}],
  ["without relaxed SIMD", { relaxedSimd: true }],
  ["without revectorisation", { revectorized: true }],
] as const)("the tiled kernels %s", (_, disable) => {
  let fast: Device;
  const slow = reference();
  beforeAll(() => {
    fast = cpu({ threads: 2, disable });
  });
  afterAll(() => fast.dispose());

  test("equal their float64 twin, values and gradients, over random shapes and rules", () => {
    fc.assert(
      fc.property(shapes, (which) => {
        const expected = everything(slow, which);
        for (const [name, actual] of Object.entries(everything(fast, which))) {
          expect(worstExcess(actual, expected[name] ?? [], 1e-4), name).toBeLessThanOrEqual(2e-5);
        }
      }),
      { numRuns: 14 },
    );
    // Fourteen shapes in plain loops take a third of this on a machine that does nothing else.
  }, 60_000);
});

describe.each(devices)("laws on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());
  const near = (actual: Tensor, expected: Tensor) =>
    expect(worstExcess(actual.dataSync(), expected.dataSync(), tolerance.relative)).toBeLessThanOrEqual(
      tolerance.absolute,
    );

  test("weights of a row sum to one: constant values come out unchanged", () => {
    const which = { length: 37, dim: 9 };
    const q = randn(device, [1, 2, which.length, which.dim], { seed: 1 });
    const v = q.mul(0).add(2.5);
    near(attention(q, q, v, { mask: causal() }), v);
  });

  test("parts of the keys merge by their log-sum-exp into the whole", () => {
    const q = randn(device, [1, 4, 20, 8], { seed: 1 });
    const k = randn(device, [1, 2, 50, 8], { seed: 2 });
    const v = randn(device, [1, 2, 50, 6], { seed: 3 });
    const whole = attentionWithLse(q, k, v);
    const parts = [
      [0, 17],
      [17, 50],
    ].map(([from = 0, to = 0]) => attentionWithLse(q, k.narrow(2, from, to), v.narrow(2, from, to)));
    const [a, b] = parts as [typeof whole, typeof whole];
    const total = a.lse.exp().add(b.lse.exp());
    const weight = (lse: Tensor) => lse.exp().div(total).reshape([1, 4, 20, 1]);
    near(a.out.mul(weight(a.lse)).add(b.out.mul(weight(b.lse))), whole.out);
    near(total.log(), whole.lse);
  });

  test("with rotary positions, a shift of all positions changes nothing", () => {
    const q = randn(device, [1, 2, 10, 8], { seed: 1 });
    const k = randn(device, [1, 2, 10, 8], { seed: 2 });
    const at = (first: number) => {
      const positions = tensor(
        device,
        Int32Array.from({ length: 10 }, (_, i) => first + i),
      );
      return attention(rotary(q, { positions }), rotary(k, { positions }), k, { mask: causal() });
    };
    near(at(700_000), at(0));
  });

  test("without positions, permuted keys change nothing, and permuted queries permute the result", () => {
    const orders = fc.integer({ min: 1, max: 30 }).chain((length) =>
      fc.shuffledSubarray(
        Array.from({ length }, (_, i) => i),
        { minLength: length },
      ),
    );
    fc.assert(
      fc.property(orders, orders, (queryOrder, keyOrder) => {
        scope(device, () => {
          const q = randn(device, [2, 4, queryOrder.length, 8], { seed: 1 });
          const k = randn(device, [2, 2, keyOrder.length, 8], { seed: 2 });
          const v = randn(device, [2, 2, keyOrder.length, 5], { seed: 3 });
          const reorder = (rows: Tensor, order: readonly number[]) =>
            rows.take(tensor(device, Int32Array.from(order)), { axis: 2 });
          const permuted = attention(reorder(q, queryOrder), reorder(k, keyOrder), reorder(v, keyOrder));
          near(permuted, reorder(attention(q, k, v), queryOrder));
          return undefined;
        });
      }),
      { numRuns: 20 },
    );
  });
});
