import { cpu, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { worstExcess } from "../test/devices.js";
import { attention, attentionWithLse, visitedTiles } from "./attention.js";
import { attentionWeights, talkingHeadsAttention, topKAttention } from "./dense-attention.js";
import { differentialAttention, differentialLambda, differentialLambdaInit } from "./differential.js";
import { bindMask } from "./mask-rule.js";
import { seenKeys } from "./mask-sees.js";
import { allOf, anyOf, causal, documentIds, documents, firstKeys, type Mask, padding } from "./masks.js";
import { mergeAttention } from "./merge-attention.js";
import { qkNorm } from "./qk-norm.js";
import {
  bigBirdPattern,
  fixedPattern,
  longformerPattern,
  streamingPattern,
  stridedPattern,
} from "./sparse-patterns.js";

const oracle = reference();
const fast = cpu({ threads: 1 });
afterAll(() => fast.dispose());
const x = (seed: number, shape: number[]) => randn(oracle, shape, { seed });

/** The identity, [n, n]. */
const identity = (n: number) =>
  tensor(
    oracle,
    Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_unused, j) => (i === j ? 1 : 0))),
  );

describe("kinds of attention", () => {
  const [query, key, value] = [x(1, [2, 4, 9, 6]), x(2, [2, 2, 9, 6]), x(3, [2, 2, 9, 5])];
  const mask = causal();

  test("weights are rows that sum to 1 and give attention's output", () => {
    const weights = attentionWeights(query, key, { mask, softcap: 3 });
    for (const sum of weights.sum({ axes: 3 }).dataSync()) expect(sum).toBeCloseTo(1, 12);
    const values = x(4, [2, 4, 9, 5]);
    const expected = attention(
      query,
      key.reshape([2, 2, 1, 9, 6]).broadcastTo([2, 2, 2, 9, 6]).reshape([2, 4, 9, 6]),
      values,
      {
        mask,
        softcap: 3,
      },
    );
    expect(worstExcess(weights.matmul(values).dataSync(), expected.dataSync(), 1e-12)).toBeLessThan(1e-12);
    const none = padding(tensor(oracle, [new Array(9).fill(false), new Array(9).fill(true)]));
    const unseen = attentionWeights(query, key, { mask: none }).narrow(0, 0, 1).dataSync();
    expect(unseen.every((w) => w === 0)).toBe(true);
  });

  test("differential attention is the difference of two attentions", () => {
    const other = [x(5, [2, 4, 9, 6]), x(6, [2, 2, 9, 6])] as const;
    const lambda = tensor(oracle, [0.1, 0.2, 0.3, 0.4]);
    const out = differentialAttention(
      { queries: [query, other[0]], keys: [key, other[1]], value },
      { lambda, mask },
    );
    const [a, b] = [attention(query, key, value, { mask }), attention(other[0], other[1], value, { mask })];
    const [p, q, o] = [a.dataSync(), b.dataSync(), out.dataSync()];
    for (let i = 0; i < o.length; i++) {
      const head = Math.floor(i / 45) % 4;
      expect(o[i]).toBeCloseTo((p[i] ?? 0) - 0.1 * (head + 1) * (q[i] ?? 0), 12);
    }
    const same = differentialAttention(
      { queries: [query, query], keys: [key, key], value },
      { lambda: lambda.narrow(0, 0, 1).mul(10), mask },
    );
    expect(worstExcess(same.dataSync(), new Array(360).fill(0), 0)).toBeLessThan(1e-12); // what both see cancels
    const [q1, k1, q2, k2] = [x(7, [6]), x(8, [6]), x(9, [6]), x(10, [6])];
    const dot = (u: Tensor, w: Tensor) => u.mul(w).sum().dataSync()[0] ?? 0;
    const expected = Math.exp(dot(q1, k1)) - Math.exp(dot(q2, k2)) + 0.8 - 0.6 * Math.exp(-0.3 * 5);
    expect(differentialLambda({ q1, k1, q2, k2 }, { layer: 5 }).dataSync()[0]).toBeCloseTo(expected, 12);
    expect(differentialLambdaInit(0)).toBeCloseTo(0.2, 12);
    expect(() =>
      differentialAttention({ queries: [query, query], keys: [key, key], value }, { lambda: x(1, [3]) }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: differentialAttention: lambda must have 1 or 4 elements, one a head; got lambda [3]. Make it with differentialLambda.]`,
    );
  });

  test("talking heads that say nothing to each other are plain heads; a permutation permutes them", () => {
    const same = identity(4);
    const plain = attention(query, key, value, { mask });
    const options = { mask, beforeSoftmax: same, afterSoftmax: same };
    const out = talkingHeadsAttention({ query, key, value }, options);
    expect(worstExcess(out.dataSync(), plain.dataSync(), 1e-12)).toBeLessThan(1e-12);
    const mha = { query, key: x(11, [2, 4, 9, 6]), value: x(12, [2, 4, 9, 5]) };
    const mix = x(13, [4, 4]);
    const mixed = talkingHeadsAttention(mha, { beforeSoftmax: same, afterSoftmax: mix, mask });
    const weights = attentionWeights(query, mha.key, { mask });
    const byHand = mix
      .matmul(weights.reshape([2, 4, 81]))
      .reshape([2, 4, 9, 9])
      .matmul(mha.value);
    expect(worstExcess(mixed.dataSync(), byHand.dataSync(), 1e-12)).toBeLessThan(1e-12);
    expect(() =>
      talkingHeadsAttention({ query, key, value }, { beforeSoftmax: identity(3), afterSoftmax: same }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: talkingHeadsAttention: beforeSoftmax must be [4, 4], heads by heads; got beforeSoftmax [3, 3]. Pass the identity to mix nothing.]`,
    );
  });

  test("top-k keeps the k greatest scores", () => {
    const all = topKAttention({ query, key, value }, { topK: 99, mask });
    expect(
      worstExcess(all.dataSync(), attention(query, key, value, { mask }).dataSync(), 1e-12),
    ).toBeLessThan(1e-12);
    const one = topKAttention({ query, key, value }, { topK: 1 }).dataSync();
    const weights = attentionWeights(query, key).dataSync();
    for (let row = 0; row < 2 * 4 * 9; row++) {
      const scores = Array.from(weights.slice(row * 9, row * 9 + 9));
      const best = scores.indexOf(Math.max(...scores));
      const head = Math.floor(row / 18); // of B G: two query heads a kv head
      const expected = value.dataSync().slice((head * 9 + best) * 5, (head * 9 + best) * 5 + 5);
      expect(worstExcess(one.slice(row * 5, row * 5 + 5), expected, 1e-12)).toBeLessThan(1e-12);
    }
    expect(() => topKAttention({ query, key, value }, { topK: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: topKAttention: topK must be a whole number above 0; got topK 0. Use attention() to keep every score.]`,
    );
  });

  test("normalised queries and keys have unit size", () => {
    const { query: q, key: k } = qkNorm({ query, key }, { kind: "l2", eps: 0 });
    for (const size of q.square().sum({ axes: 3 }).dataSync()) expect(size).toBeCloseTo(1, 12);
    for (const size of k.square().sum({ axes: 3 }).dataSync()) expect(size).toBeCloseTo(1, 12);
    const weight = x(14, [6]);
    const rms = qkNorm({ query, key }, { queryWeight: weight, eps: 0 });
    const expected = query.div(query.square().mean({ axes: 3, keepDims: true }).sqrt()).mul(weight);
    expect(worstExcess(rms.query.dataSync(), expected.dataSync(), 1e-12)).toBeLessThan(1e-12);
    expect(() => qkNorm({ query, key }, { eps: -1 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: qkNorm: eps must not be negative; got eps -1. Leave it out for 1e-6.]`,
    );
  });
});

describe("merging", () => {
  test("parts of the keys merge into the whole, values and gradients, also where a part is not seen", () => {
    for (const device of [oracle, fast]) {
      const weights = {
        query: randn(device, [1, 4, 12, 6], { seed: 1 }),
        key: randn(device, [1, 2, 12, 6], { seed: 2 }),
        value: randn(device, [1, 2, 12, 5], { seed: 3 }),
      };
      type Weights = typeof weights;
      const whole = ({ query, key, value }: Weights) =>
        attention(query, key, value, { mask: causal() }).square().sum();
      const parts = ({ query, key, value }: Weights) => {
        const part = (from: number, to: number) => {
          const seen = Array.from({ length: 12 }, (_, j) => j >= from && j < to);
          const only = allOf(causal(), padding(tensor(device, [seen])));
          return attentionWithLse(query, key, value, { mask: only });
        };
        return mergeAttention([part(0, 5), part(5, 6), part(6, 12)])
          .out.square()
          .sum();
      };
      const [expected, actual] = [valueAndGrad(whole)(weights), valueAndGrad(parts)(weights)];
      expect(worstExcess(actual.value.dataSync(), expected.value.dataSync(), 1e-5)).toBeLessThan(1e-5);
      for (const name of ["query", "key", "value"] as const) {
        expect(worstExcess(actual.grad[name].dataSync(), expected.grad[name].dataSync(), 1e-4)).toBeLessThan(
          1e-5,
        );
      }
      const none = attentionWithLse(weights.query, weights.key, weights.value, {
        mask: padding(tensor(device, [new Array(12).fill(false)])),
      });
      const merged = mergeAttention([none, none]);
      expect(merged.out.dataSync().every((y) => y === 0)).toBe(true);
      expect(merged.lse.dataSync().every((y) => y === Number.NEGATIVE_INFINITY)).toBe(true);
    }
  });

  test("errors name the rule, the values and the cure", () => {
    const part = attentionWithLse(x(1, [1, 1, 2, 4]), x(2, [1, 1, 3, 4]), x(3, [1, 1, 3, 4]));
    const longer = attentionWithLse(x(1, [1, 1, 3, 4]), x(2, [1, 1, 3, 4]), x(3, [1, 1, 3, 4]));
    expect(() => mergeAttention([])).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: mergeAttention: at least one part is needed; got 0 parts. Pass the results of attentionWithLse.]`,
    );
    expect(() => mergeAttention([part, longer])).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: mergeAttention: parts must have one shape; got out [1, 1, 2, 4] and [1, 1, 3, 4]. Attend with the same queries to each part of the keys.]`,
    );
  });
});

describe("sparse patterns", () => {
  const length = 23;
  const seen = (mask: Mask): boolean[] => {
    const extents = { batch: 1, numHeads: 1, queryLen: length, keyLen: length };
    const { rule, inputs } = bindMask(mask, extents);
    if (rule === undefined) throw new Error("the pattern hides nothing");
    const flags = seenKeys(oracle, rule, { inputs, extents });
    return Array.from(flags.cast("i32").broadcastTo([1, 1, length, length]).dataSync(), Boolean);
  };
  const byHand = (sees: (i: number, j: number) => boolean): boolean[] =>
    Array.from({ length: length * length }, (_, at) => sees(Math.floor(at / length), at % length));

  test("each is the set of pairs that its paper defines", () => {
    expect(seen(stridedPattern(5))).toEqual(byHand((i, j) => j <= i && (i - j < 5 || (i - j) % 5 === 0)));
    expect(seen(fixedPattern(6, 2))).toEqual(
      byHand((i, j) => j <= i && (Math.floor(i / 6) === Math.floor(j / 6) || j % 6 >= 4)),
    );
    expect(seen(streamingPattern({ sinks: 2, window: 4 }))).toEqual(
      byHand((i, j) => j <= i && (j < 2 || i - j < 4)),
    );
    const globals = Array.from({ length }, (_, i) => i === 0 || i === 9);
    const globalTokens = tensor(oracle, [globals]);
    expect(seen(longformerPattern({ window: 3, globalTokens }))).toEqual(
      byHand((i, j) => Math.abs(i - j) < 3 || globals[i] === true || globals[j] === true),
    );
    expect(() => seen(anyOf(allOf(), firstKeys(1)))).toThrow("hides nothing"); // an alternative to everything
  });

  test("BigBird's rows have their global, window and random blocks, the same for a seed", () => {
    const options = { length: 64 * 12, randomBlocks: 2, seed: 4 };
    const { layout } = bigBirdPattern(oracle, options);
    const rows = layout.cast("i32").sum({ axes: 1 }).dataSync();
    expect(Array.from(rows.slice(0, 2))).toEqual([12, 12]);
    expect(Array.from(rows.slice(4, 10))).toEqual(new Array(6).fill(2 + 3 + 2));
    expect(bigBirdPattern(oracle, options).layout.dataSync()).toEqual(layout.dataSync());
    expect(bigBirdPattern(oracle, { ...options, seed: 5 }).layout.dataSync()).not.toEqual(layout.dataSync());
    expect(() => bigBirdPattern(oracle, { length: 64, windowBlocks: 2 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: bigBirdPattern: windowBlocks must be a whole number, odd so that it is centred; got windowBlocks 2. The paper has 2 global, 3 window and 3 random blocks of 64.]`,
    );
  });

  test("texts packed into one row cost what they cost apart, and give the same", () => {
    const lengths = [96, 48, 144];
    const total = 288;
    const [q, k, v] = [1, 2, 3].map((seed) => randn(fast, [1, 2, total, 8], { seed })) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const mask = allOf(
      causal(),
      documents(tensor(fast, [Array.from(documentIds(lengths))], { dtype: "i32" })),
    );
    const packed = attention(q, k, v, { mask });
    const { visited, tile } = visitedTiles(q, k, mask);
    expect(tile).toEqual({ queries: 48, keys: 48 });
    const apart = lengths.map((length) => ((length / 48) * (length / 48 + 1)) / 2);
    const counted = Array.from(visited.dataSync()).reduce((a, b) => a + b, 0);
    expect(counted).toBe(2 * apart.reduce((a, b) => a + b, 0)); // two heads
    let from = 0;
    for (const length of lengths) {
      const cut = (x: Tensor) => x.narrow(2, from, from + length);
      const alone = attention(cut(q), cut(k), cut(v), { mask: causal() });
      expect(worstExcess(cut(packed).dataSync(), alone.dataSync(), 1e-5)).toBeLessThan(1e-6);
      from += length;
    }
  });

  test("kernels compute the blocks of a sparse pattern and no others", () => {
    const [numBlocks, blockSize] = [16, 64];
    const mask = bigBirdPattern(fast, { length: numBlocks * blockSize, blockSize, globalBlocks: 1 });
    const q = randn(fast, [1, 2, numBlocks * blockSize, 8], { seed: 1 });
    const { visited, tile, tilesPerHead } = visitedTiles(q, q, mask);
    expect(tile).toEqual({ queries: 64, keys: 64 });
    expect(tilesPerHead).toBe(256);
    const perRow = mask.layout.cast("i32").sum({ axes: 1 }).dataSync();
    expect(Array.from(visited.dataSync())).toEqual([...perRow, ...perRow]);
  });
});
