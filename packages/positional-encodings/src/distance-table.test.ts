import { randn, reference, valueAndGrad } from "@heddle/tensor";
import { expect, test } from "vitest";
import { alibi } from "./alibi.js";
import { distanceRow, distanceTable } from "./distance-table.js";
import { dynamicPositionBias } from "./dynamic-position-bias.js";
import { fire } from "./fire.js";
import { kerple } from "./kerple.js";
import { sandwich } from "./sandwich.js";
import { t5Bias } from "./t5-bias.js";

test("a table holds the bias of the last query, nearest key first", () => {
  const device = reference();
  const table = randn(device, [32, 3], { seed: 1 });
  for (const encoding of [alibi(device, { numHeads: 3 }), t5Bias(table, { isBidirectional: false })]) {
    const before = device.memory().buffers;
    const byDistance = distanceTable(encoding, 40);
    expect(device.memory().buffers).toBe(before + 1);
    expect(byDistance.shape).toEqual([3, 40]);
    const whole = encoding.bias({ queryLen: 40, keyLen: 40 }).dataSync();
    const values = byDistance.dataSync();
    for (let h = 0; h < 3; h++) {
      for (let i = 0; i < 40; i++) {
        for (let j = 0; j <= i; j++) expect(values[h * 40 + i - j]).toBe(whole[(h * 40 + i) * 40 + j]);
      }
    }
  }
});

test.each([
  [5, 5],
  [3, 7],
  [6, 2],
])("a row holds the bias of %i queries and %i keys by distance", (queryLen, keyLen) => {
  const device = reference();
  const table = randn(device, [32, 3], { seed: 1 });
  const layers = [
    { weight: randn(device, [4, 1], { seed: 2 }), bias: randn(device, [4], { seed: 3 }) },
    { weight: randn(device, [3, 4], { seed: 4 }), bias: randn(device, [3], { seed: 5 }) },
  ];
  const weights = {
    scale: randn(device, [3], { seed: 6 }).exp(),
    rate: randn(device, [3], { seed: 7 }).exp(),
  };
  for (const encoding of [
    alibi(device, { numHeads: 3 }),
    alibi(device, { numHeads: 3, direction: "symmetric" }),
    t5Bias(table),
    kerple(weights),
    sandwich(device, { numHeads: 3 }),
    dynamicPositionBias(layers),
  ]) {
    const row = distanceRow(encoding, { queryLen, keyLen });
    expect(row.shape).toEqual([3, queryLen + keyLen - 1]);
    const [values, whole] = [row.dataSync(), encoding.bias({ queryLen, keyLen }).dataSync()];
    for (let at = 0; at < 3 * queryLen * keyLen; at++) {
      const j = at % keyLen;
      const i = Math.floor(at / keyLen) % queryLen;
      const h = Math.floor(at / (keyLen * queryLen));
      const distance = i + keyLen - queryLen - j;
      expect(values[h * (queryLen + keyLen - 1) + distance + queryLen - 1]).toBeCloseTo(
        whole[at] ?? Number.NaN,
        12,
      );
    }
  }
});

test("gradients reach the table of buckets", () => {
  const device = reference();
  const table = randn(device, [32, 2], { seed: 1 });
  const { grad } = valueAndGrad((w: typeof table) =>
    distanceTable(t5Bias(w, { isBidirectional: false }), 5).sum(),
  )(table);
  const used = Array.from(grad.dataSync()).filter((x) => x !== 0);
  expect(used).toEqual(new Array(10).fill(1)); // distances 0..4 have a bucket each
});

test("errors name the rule, the values and the cure", () => {
  const device = reference();
  expect(() => distanceTable(alibi(device, { numHeads: 2 }), 0)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: distanceTable: numDistances must be a whole number above 0; got numDistances 0. Take it from the model's config.]`,
  );
  const layers = [
    { weight: randn(device, [4, 1], { seed: 1 }), bias: randn(device, [4], { seed: 2 }) },
    { weight: randn(device, [2, 4], { seed: 3 }), bias: randn(device, [2], { seed: 4 }) },
  ];
  const scalar = randn(device, [1], { seed: 5 });
  const encoding = fire({ layers, logScale: scalar, threshold: scalar });
  expect(() => distanceRow(encoding, { queryLen: 4, keyLen: 8 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: distanceRow: the bias must depend on distance alone; got one that depends on the query's position. Pass its bias as a matrix.]`,
  );
  expect(() =>
    distanceRow(alibi(device, { numHeads: 2 }), { queryLen: 0, keyLen: 8 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: distanceRow: queryLen must be a whole number above 0; got queryLen 0. Take it from the model's config.]`,
  );
  expect(() => distanceTable(encoding, 8)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: distanceTable: the bias must depend on distance alone; got one that depends on the query's position. Pass its bias as a matrix.]`,
  );
});
