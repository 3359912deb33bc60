import { compile, cpu, randn, reference, tensor } from "@heddle/tensor";
import { expect, test } from "vitest";
import { worstDifference } from "../test/compare.js";
import { alibi } from "./alibi.js";
import { deberta } from "./deberta.js";
import { learned } from "./learned.js";
import { addPositions, applyPositions, noPositions } from "./position-encoding.js";
import { t5Bias } from "./t5-bias.js";

const device = reference();
const heads = {
  query: randn(device, [1, 2, 3, 4], { seed: 1 }),
  key: randn(device, [1, 2, 5, 4], { seed: 2 }),
};

test("no positions change nothing", () => {
  const x = randn(device, [1, 3, 4], { seed: 3 });
  expect(addPositions(noPositions(), x).dataSync()).toEqual(x.dataSync());
  const { query, key, bias, scale } = applyPositions(noPositions(), heads);
  expect(query.dataSync()).toEqual(heads.query.dataSync());
  expect(key.dataSync()).toEqual(heads.key.dataSync());
  expect(bias).toBeUndefined();
  expect(scale).toBe(0.5);
});

test("what is added belongs to the input, not to the layer", () => {
  const encoding = learned(tensor(device, [[1, 2]]));
  expect(Array.from(addPositions(encoding, tensor(device, [[[10, 20]]])).dataSync())).toEqual([11, 22]);
  expect(applyPositions(encoding, heads).bias).toBeUndefined();
});

test("a bias is made for the lengths of query and key, which end together by default", () => {
  const encoding = alibi(device, { numHeads: 2 });
  const { bias, scale } = applyPositions(encoding, heads);
  const expected = encoding.bias({ queryLen: 3, keyLen: 5, queryStart: 2 });
  expect(bias?.dataSync()).toEqual(expected.dataSync());
  expect(scale).toBe(0.5);
  const early = applyPositions(encoding, heads, { queryStart: 0 }).bias;
  expect(early?.dataSync()).toEqual(encoding.bias({ queryLen: 3, keyLen: 5, queryStart: 0 }).dataSync());
});

test("a layer's tensors are the caller's to free", () => {
  const before = device.memory().buffers;
  const { query, key, bias } = applyPositions(alibi(device, { numHeads: 2 }), heads);
  for (const owned of [query, key, bias]) owned?.dispose();
  expect(device.memory().buffers).toBe(before);
});

test("a compiled layer gives what the plain one gives", () => {
  const device = cpu({ threads: 1 });
  const [query, key] = [randn(device, [1, 2, 3, 4], { seed: 1 }), randn(device, [1, 2, 5, 4], { seed: 2 })];
  const [table, rows] = [randn(device, [8, 2], { seed: 3 }), randn(device, [2, 8, 4], { seed: 4 })];
  const layer = (q: typeof query, k: typeof key, buckets: typeof table, relativeKeys: typeof rows) => {
    const scored = applyPositions(deberta({ relativeKeys }), { query: q, key: k });
    const biased = applyPositions(t5Bias(buckets, { numBuckets: 8 }), { query: q, key: k });
    const products = scored.query.matmul(scored.key, { transposeB: true }).mul(scored.scale);
    return products.add(scored.bias ?? 0).add(biased.bias ?? 0);
  };
  const compiled = compile(layer);
  const values = compiled(query, key, table, rows).dataSync();
  const plain = layer(query, key, table, rows).dataSync();
  expect(worstDifference(values, plain)).toBeLessThan(1e-6);
  compiled.dispose();
  device.dispose();
});
