import {
  cpu,
  type Device,
  disposeTree,
  randn,
  reference,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices, worstExcess } from "../test/devices.js";
import { expectSlopes } from "../test/finite-differences.js";
import { type Arrays, caseArrays, goldenCases, goldenOptions, goldenTensor } from "../test/golden/cases.js";
import { attention, attentionWithLse } from "./attention.js";
import { spreadByDistance, sumByDistance } from "./distance-bias.js";
import { causal } from "./masks.js";

const oracle = reference();

/** ALiBi of a golden case by distance: -slope n for a key n tokens before its query. */
function alibiRow(device: Device, arrays: Arrays): Tensor {
  const [queryLen = 0, keyLen = 0] = ["q", "k"].map((name) => arrays.get(name).shape[2]);
  const rows = Array.from(arrays.get("alibi_slopes").data, (slope) =>
    Array.from({ length: queryLen + keyLen - 1 }, (_, c) => -slope * (c - queryLen + 1)),
  );
  return tensor(device, rows);
}

describe.each(devices)("a bias by distance on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());
  const near = (actual: Tensor, expected: ArrayLike<number>) =>
    expect(worstExcess(actual.dataSync(), expected, tolerance.relative)).toBeLessThanOrEqual(
      tolerance.absolute,
    );

  const alibi = goldenCases.filter((which) => caseArrays(which).has("alibi_slopes"));
  test("there are goldens of it", () => expect(alibi.length).toBeGreaterThan(0));

  test.each(alibi)("golden $name as one row a head: values and gradients", (which) => {
    const arrays = caseArrays(which);
    const [q, k, v, dOut] = ["q", "k", "v", "d_out"].map((name) => goldenTensor(device, arrays, name)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const options = { ...goldenOptions(which, {}), distanceBias: alibiRow(device, arrays) };
    const { out, lse } = attentionWithLse(q, k, v, options);
    near(out, arrays.get("out").data);
    near(lse, arrays.get("lse").data);
    const { grad } = valueAndGrad((w: { q: Tensor; k: Tensor; v: Tensor }) =>
      attention(w.q, w.k, w.v, options).mul(dOut).sum(),
    )({ q, k, v });
    for (const name of ["q", "k", "v"] as const) near(grad[name], arrays.get(`d_${name}`).data);
  });

  test("golden gradient of a bias, summed by distance", () => {
    const which = goldenCases.find(({ name }) => name === "bias");
    if (which === undefined) throw new Error("no golden case bias");
    const arrays = caseArrays(which);
    const [q, k, v, bias, dOut] = ["q", "k", "v", "bias", "d_out"].map((name) =>
      goldenTensor(device, arrays, name),
    ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const columns = (q.shape[2] ?? 0) + (k.shape[2] ?? 0) - 1;
    const weights = { distanceBias: randn(device, [q.shape[1] ?? 1, columns], { seed: 1 }).mul(0) };
    const { grad } = valueAndGrad((w: typeof weights) =>
      attention(q, k, v, { ...goldenOptions(which, { bias }), ...w })
        .mul(dOut)
        .sum(),
    )(weights);
    const golden = tensor(oracle, Float64Array.from(arrays.get("d_bias").data), { shape: bias.shape });
    near(grad.distanceBias, sumByDistance(golden).sum({ axes: 0 }).dataSync());
  });
});

test("rows become matrices and back as the definition says", () => {
  for (const [queryLen, keyLen] of [
    [1, 1],
    [4, 1],
    [1, 5],
    [3, 6],
    [6, 3],
  ] as const) {
    const table = randn(oracle, [2, queryLen + keyLen - 1], { seed: 1 });
    const spread = spreadByDistance(table, { queryLen, keyLen });
    expect(spread.shape).toEqual([1, 2, queryLen, keyLen]);
    const matrix = randn(oracle, [3, 2, queryLen, keyLen], { seed: 2 });
    const sums = sumByDistance(matrix);
    const columns = queryLen + keyLen - 1;
    const expected = new Float64Array(3 * 2 * columns);
    for (let at = 0; at < 6 * queryLen * keyLen; at++) {
      const j = at % keyLen;
      const i = Math.floor(at / keyLen) % queryLen;
      const row = Math.floor(at / (keyLen * queryLen)); // of batch rows and heads
      const column = i - j + keyLen - 1;
      expected[row * columns + column] =
        (expected[row * columns + column] ?? 0) + (matrix.dataSync()[at] ?? 0);
      if (row < 2) expect(spread.dataSync()[at]).toBe(table.dataSync()[row * columns + column]);
    }
    expect(worstExcess(sums.dataSync(), expected, 1e-12)).toBeLessThan(1e-12);
  }
});

test.each(["one row", "a row a head"])("gradients equal finite differences: %s", (name) => {
  const weights = {
    query: randn(oracle, [2, 4, 5, 3], { seed: 1 }),
    key: randn(oracle, [2, 2, 7, 3], { seed: 2 }),
    value: randn(oracle, [2, 2, 7, 4], { seed: 3 }),
    bias: randn(oracle, [1, 4, 5, 7], { seed: 4 }),
    distanceBias: randn(oracle, [name === "one row" ? 1 : 4, 11], { seed: 5 }),
    sinks: randn(oracle, [4], { seed: 6 }),
  };
  expectSlopes(
    ({ query, key, value, ...rules }) =>
      attention(query, key, value, { ...rules, mask: causal(), softcap: 2 })
        .square()
        .sum(),
    weights,
  );
});

test("memory stays linear in the length, forward and backward", () => {
  const peak = (length: number) => {
    const fresh = cpu({ threads: 1 });
    const weights = {
      q: randn(fresh, [1, 1, length, 8], { seed: 1 }),
      distanceBias: randn(fresh, [1, 2 * length - 1], { seed: 2 }),
    };
    const run = ({ q, distanceBias }: typeof weights) => attention(q, q, q, { mask: causal(), distanceBias });
    disposeTree(valueAndGrad((w: typeof weights) => run(w).sum())(weights));
    const { peakBytes } = fresh.memory();
    fresh.dispose();
    return peakBytes;
  };
  const growth = (peak(2048) - peak(1024)) / (peak(1024) - peak(512));
  expect(growth).toBeGreaterThan(1.8);
  expect(growth).toBeLessThan(2.2);
});

test("a row of the wrong length says which is right", () => {
  const q = randn(oracle, [1, 4, 5, 8], { seed: 1 });
  const k = randn(oracle, [1, 4, 7, 8], { seed: 2 });
  expect(() =>
    attention(q, k, k, { distanceBias: randn(oracle, [4, 12], { seed: 3 }) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: distanceBias must be [4 or 1, 11]; got distanceBias [4, 12]. Reshape it, or broadcast it over the missing axes.]`,
  );
});
