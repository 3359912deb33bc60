import { type Device, randn, reference, zeros } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goldenTensors, worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { t5Bias, t5Bucket } from "./t5-bias.js";

const golden = readGolden("t5_bias.safetensors");
const small = { numBuckets: 8, maxDistance: 20 };

test.each([
  ["bi", 32, 128],
  ["bi", 8, 20],
  ["causal", 32, 128],
  ["causal", 8, 20],
] as const)("buckets %s %i %i equal the golden exactly", (kind, numBuckets, maxDistance) => {
  const options = { numBuckets, maxDistance, isBidirectional: kind === "bi" };
  const relative = golden.get("relative_position").data;
  const buckets = Array.from(relative, (n) => t5Bucket(n, options));
  expect(buckets).toEqual(Array.from(golden.get(`bucket_${kind}_${numBuckets}_${maxDistance}`).data));
});

describe.each(devices)("t5Bias on $name", ({ create }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test.each(["bi", "causal"] as const)("%s: equals the golden exactly", (kind) => {
    const table = goldenTensors(device, golden)("bias_table");
    const bias = t5Bias(table, { ...small, isBidirectional: kind === "bi" }).bias({ queryLen: 9, keyLen: 9 });
    expect(worstDifference(bias.dataSync(), golden.get(`bias_${kind}`).data)).toBe(0);
  });
});

test("the gradient of the table is that of central differences", () => {
  const table = randn(reference(), [8, 2], { seed: 1 });
  const worst = worstGradient([table], ([rows = table]) =>
    t5Bias(rows, small).bias({ queryLen: 3, keyLen: 30 }),
  );
  expect(worst).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  const table = zeros(reference(), [8, 2]);
  expect(() => t5Bias(table)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: t5Bias: table must be [32, H]; got table [8, 2]. Reshape it, or check the model's config.]`,
  );
  expect(() => t5Bucket(1, { numBuckets: 7 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: t5Bucket: numBuckets must be at least 4 and even, half for each direction; got numBuckets 7. T5 has 32.]`,
  );
  expect(() => t5Bucket(1, { numBuckets: 1, isBidirectional: false })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: t5Bucket: numBuckets must be at least 2; got numBuckets 1. T5 has 32.]`,
  );
  expect(() => t5Bucket(1, { maxDistance: 8 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: t5Bucket: maxDistance must exceed the 8 distances that have their own bucket; got maxDistance 8. T5 has 128.]`,
  );
});
