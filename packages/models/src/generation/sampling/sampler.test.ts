import { describe, expect, test } from "vitest";
import { createSampler } from "./sampler.js";
import type { SamplingOptions } from "./sampling-options.js";
import { topIds } from "./scores.js";

const logits = Float32Array.from([Math.log(0.5), Math.log(0.3), Math.log(0.2)]);

function countsOf(options: SamplingOptions, numDraws = 20_000): number[] {
  const sampler = createSampler({ seed: 5, ...options });
  const counts = [0, 0, 0];
  for (let draw = 0; draw < numDraws; draw++) {
    const { id } = sampler.sample(logits, []);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts.map((count) => count / numDraws);
}

test("draws follow the probabilities", () => {
  const shares = countsOf({});
  for (const [id, share] of [0.5, 0.3, 0.2].entries())
    expect(Math.abs((shares[id] ?? 0) - share)).toBeLessThan(0.015);
  const flat = countsOf({ temperature: 2 });
  expect(flat[0]).toBeCloseTo(Math.sqrt(0.5) / (Math.sqrt(0.5) + Math.sqrt(0.3) + Math.sqrt(0.2)), 1);
});

test("removed tokens are never drawn", () => {
  expect(countsOf({ topK: 2 }, 2000)[2]).toBe(0);
  expect(countsOf({ topP: 0.6 }, 2000)[2]).toBe(0);
  expect(countsOf({ minP: 0.5 }, 2000)[2]).toBe(0);
  expect(countsOf({ topK: 1 }, 200)).toEqual([1, 0, 0]);
});

test("greedy takes the first of the greatest; a penalty can change it", () => {
  const greedy = createSampler({ temperature: 0 });
  expect(greedy.sample(Float32Array.from([1, 3, 3]), []).id).toBe(1);
  const penal = createSampler({ temperature: 0, repetitionPenalty: 4 });
  expect(penal.sample(Float32Array.from([1, 3, 3]), [1]).id).toBe(2);
});

test("the same seed gives the same tokens, another seed others", () => {
  const drawn = (seed: number) => {
    const sampler = createSampler({ seed });
    return Array.from({ length: 40 }, () => sampler.sample(logits, []).id);
  };
  expect(drawn(1)).toEqual(drawn(1));
  expect(drawn(1)).not.toEqual(drawn(2));
  expect(drawn(2 ** 40)).not.toEqual(drawn(0));
});

test("logprobs are the model's own, whatever the temperature", () => {
  const token = createSampler({ temperature: 0, logprobs: 2 }).sample(logits, []);
  expect(token.logprob).toBeCloseTo(Math.log(0.5), 6);
  expect(token.top?.map(({ id }) => id)).toEqual([0, 1]);
  expect(token.top?.[1]?.logprob).toBeCloseTo(Math.log(0.3), 6);
  expect(createSampler({ topK: 1, temperature: 0.1 }).sample(logits, []).logprob).toBeCloseTo(
    Math.log(0.5),
    6,
  );
});

test("logits that are not numbers are an error, not a token", () => {
  const broken = Float32Array.from([1, Number.NaN]);
  expect(() => createSampler().sample(broken, [])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: sample: logits must be numbers; got NaN among 2. The weights are damaged or overflow their dtype: load them as f32.]`,
  );
});

test("topIds orders by score, then id", () => {
  expect(topIds([1, 5, 3, 5, 0], 3)).toEqual([1, 3, 2]);
  expect(topIds([1, 2], 5)).toEqual([1, 0]);
  expect(topIds([1, 2], 0)).toEqual([]);
});

describe("options out of range are refused", () => {
  test.each([
    [{ temperature: -1 }],
    [{ topK: 1.5 }],
    [{ topP: 0 }],
    [{ minP: 2 }],
    [{ repetitionPenalty: 0 }],
    [{ seed: -1 }],
    [{ logprobs: Number.NaN }],
    [{ top_p: 0.9 } as SamplingOptions],
  ])("%j", (options) => {
    expect(() => createSampler(options)).toThrowErrorMatchingSnapshot();
  });
});
