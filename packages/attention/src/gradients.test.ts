import { randn, reference, type Tensor } from "@heddle/tensor";
import { expect, test } from "vitest";
import { expectSlopes } from "../test/finite-differences.js";
import { attention, attentionWithLse } from "./attention.js";
import { attentionWeights, talkingHeadsAttention, topKAttention } from "./dense-attention.js";
import { differentialAttention, differentialLambda } from "./differential.js";
import { latentAttention, splitLatentProjection } from "./latent.js";
import { linearAttention, linformerAttention, performerFeatures } from "./linear-attention.js";
import { allOf, anyOf, causal, chunked, firstKeys, type Mask, slidingWindow, strided } from "./masks.js";
import { mergeAttention } from "./merge-attention.js";
import { qkNorm } from "./qk-norm.js";
import { retention } from "./retention.js";
import { bigBirdPattern } from "./sparse-patterns.js";

// Gradients of every kind of attention against central differences, in float64.

const device = reference();
const x = (seed: number, shape: readonly number[]) => randn(device, shape, { seed });
const square = (y: Tensor) => y.square().sum();

/** Grouped queries: 4 heads over 2, 6 queries that are the last of 9 keys. */
const heads = () => ({
  query: x(1, [2, 4, 6, 3]),
  key: x(2, [2, 2, 9, 3]),
  value: x(3, [2, 2, 9, 5]),
});
type Heads = ReturnType<typeof heads>;

const masks: Readonly<Record<string, Mask | undefined>> = {
  none: undefined,
  causal: causal(),
  window: allOf(causal(), slidingWindow(3)),
  chunks: allOf(causal(), chunked(4)),
  "strides and sinks": allOf(causal(), anyOf(strided(3), firstKeys(2))),
};

test.each(Object.entries(masks))("attention with every rule, mask: %s", (_, mask) => {
  expectSlopes(
    ({ query, key, value, ...rules }) =>
      square(attention(query, key, value, { ...rules, mask, softcap: 1.5, scale: 0.7 })),
    { ...heads(), bias: x(4, [2, 1, 6, 9]), distanceBias: x(5, [4, 14]), sinks: x(6, [4]) },
  );
});

test("block-sparse attention", () => {
  const mask = bigBirdPattern(device, {
    length: 48,
    blockSize: 16,
    globalBlocks: 1,
    windowBlocks: 1,
    randomBlocks: 0,
  });
  const wide = { query: x(1, [1, 2, 48, 2]), key: x(2, [1, 1, 48, 2]), value: x(3, [1, 1, 48, 2]) };
  expectSlopes(({ query, key, value }) => square(attention(query, key, value, { mask })), wide);
});

test("output and log-sum-exp, and parts merged by it", () => {
  const both = ({ out, lse }: { readonly out: Tensor; readonly lse: Tensor }) => square(out).add(square(lse));
  expectSlopes(({ query, key, value }) => both(attentionWithLse(query, key, value)), heads());
  const parts = [
    [0, 4],
    [4, 9],
  ] as const;
  expectSlopes(({ query, key, value }) => {
    const found = parts.map(([from, to]) =>
      attentionWithLse(query, key.narrow(2, from, to), value.narrow(2, from, to)),
    );
    return both(mergeAttention(found));
  }, heads());
});

test("differential attention and its lambda", () => {
  const { query, key, value } = heads();
  const vectors = { q1: x(7, [3]), k1: x(8, [3]), q2: x(9, [3]), k2: x(10, [3]) };
  const weights = { query, key, value, otherQuery: x(4, query.shape), otherKey: x(5, key.shape), ...vectors };
  expectSlopes(({ q1, k1, q2, k2, ...w }) => {
    const lambda = differentialLambda({ q1, k1, q2, k2 }, { layer: 2 });
    const inputs = { queries: [w.query, w.otherQuery], keys: [w.key, w.otherKey], value: w.value } as const;
    return square(differentialAttention(inputs, { lambda, mask: causal() }));
  }, weights);
});

test("kinds over a whole matrix of weights", () => {
  const options = { mask: causal(), softcap: 2 };
  const biases = { bias: x(4, [1, 4, 6, 9]), distanceBias: x(5, [1, 14]) };
  expectSlopes(({ query, key, ...rules }) => square(attentionWeights(query, key, { ...options, ...rules })), {
    query: heads().query,
    key: heads().key,
    ...biases,
  });
  expectSlopes(
    ({ beforeSoftmax, afterSoftmax, bias, distanceBias, ...inputs }) =>
      square(
        talkingHeadsAttention(inputs as Heads, {
          ...options,
          bias,
          distanceBias,
          beforeSoftmax,
          afterSoftmax,
        }),
      ),
    { ...heads(), ...biases, beforeSoftmax: x(6, [4, 4]), afterSoftmax: x(7, [4, 4]) },
  );
  expectSlopes((inputs) => square(topKAttention(inputs, { topK: 3, ...options })), heads());
});

test.each(["rms", "l2"] as const)("normalised queries and keys: %s", (kind) => {
  expectSlopes(
    ({ query, key, value, queryWeight, keyWeight }) => {
      const normal = qkNorm({ query, key }, { kind, queryWeight, keyWeight });
      return square(attention(normal.query, normal.key, value, { scale: 3 }));
    },
    { ...heads(), queryWeight: x(4, [3]), keyWeight: x(5, [3]) },
  );
});

test.each(["expanded", "absorbed"] as const)("latent attention, %s", (form) => {
  expectSlopes(
    ({ content, rotated, latent, rotatedKey, projection }) =>
      square(
        latentAttention(
          { content, rotated },
          { latent, rotated: rotatedKey },
          {
            weights: splitLatentProjection(projection, { numHeads: 2, contentDim: 3 }),
            form,
            mask: causal(),
          },
        ),
      ),
    {
      content: x(1, [1, 2, 4, 3]),
      rotated: x(2, [1, 2, 4, 2]),
      latent: x(3, [1, 1, 6, 5]),
      rotatedKey: x(4, [1, 1, 6, 2]),
      projection: x(5, [2 * (3 + 4), 5]),
    },
  );
});

const sameLength = () => ({ query: x(1, [1, 2, 6, 3]), key: x(2, [1, 2, 6, 3]), value: x(3, [1, 2, 6, 4]) });

test("linear attention, with its own features and the Performer's, causal and not", () => {
  const performer = performerFeatures(device, { headDim: 3, numFeatures: 5 });
  for (const featureMap of [undefined, performer]) {
    for (const isCausal of [true, false]) {
      const options = { isCausal, ...(featureMap && { featureMap }) };
      expectSlopes((inputs) => square(linearAttention(inputs, options).out), sameLength());
    }
  }
});

test("Linformer, projections included", () => {
  expectSlopes(
    ({ query, key, value, keyProjection, valueProjection }) =>
      square(linformerAttention({ query, key, value }, { keyProjection, valueProjection })),
    { ...heads(), keyProjection: x(4, [4, 9]), valueProjection: x(5, [2, 4, 9]) },
  );
});

test.each(["parallel", "chunked", "recurrent"] as const)("retention, %s", (form) => {
  expectSlopes((inputs) => square(retention(inputs, { form, chunk: 4 }).out), sameLength());
});

test("a slope that is wrong is seen", () => {
  const wrong = ({ query }: { readonly query: Tensor }) => square(query).add(square(query.detach()));
  expect(() => expectSlopes(wrong, { query: x(1, [3]) })).toThrow();
});
