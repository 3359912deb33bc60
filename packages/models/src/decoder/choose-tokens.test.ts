import {
  type CpuOptions,
  compile,
  cpu,
  type Device,
  type DType,
  disposeTree,
  reference,
  type Tensor,
  tensor,
  zeros,
} from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseTokens } from "./choose-tokens.js";

/** Tokens and log-probabilities of the likeliest of each row. */
async function likeliest(device: Device, logits: ArrayLike<number>, rows: number) {
  using scores = tensor(device, Float32Array.from(logits), { shape: [rows, logits.length / rows] });
  const chosen = chooseTokens(scores, undefined);
  const [tokens, results] = await Promise.all([chosen.tokens.data(), chosen.results.data()]);
  disposeTree(chosen);
  const values = Array.from(results, Number);
  return {
    tokens: Array.from(tokens, Number),
    named: values.filter((_, i) => i % 2 === 0),
    logprobs: values.filter((_, i) => i % 2 === 1),
  };
}

/** Log-probabilities of tokens in float64. */
function exactLogprobs(values: readonly number[], rows: number, tokens: readonly number[]): number[] {
  const width = values.length / rows;
  return tokens.map((token, row) => {
    const line = values.slice(row * width, (row + 1) * width);
    const chosen = line[token] ?? 0;
    return -Math.log(line.reduce((sum, x) => sum + Math.exp(x - chosen), 0));
  });
}

const options: readonly CpuOptions[] = [
  { threads: 1 },
  { threads: 2 },
  { threads: 1, disable: { revectorized: true } },
  { threads: 1, disable: { revectorized: true, relaxedSimd: true } },
];

const infinity = Number.POSITIVE_INFINITY;

/** Rows around the edges of vectors and stretches, with equal greatest ones and what is no finite number. */
const logits = fc
  .tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 3, 16, 17, 2047, 2048, 2049, 4100))
  .chain(([rows, width]) =>
    fc.record({
      rows: fc.constant(rows),
      seed: fc.integer(),
      scale: fc.constantFrom(0, 0.5, 8, 300),
      rounds: fc.boolean(),
      fill: fc.constantFrom(undefined, -infinity),
      odd: fc.array(
        fc.tuple(
          fc.integer({ min: 0, max: rows * width - 1 }),
          fc.constantFrom(-infinity, infinity, Number.NaN, 900),
        ),
        { maxLength: 2 },
      ),
      width: fc.constant(width),
    }),
  )
  .map(({ rows, width, seed, scale, rounds, fill, odd }) => {
    let state = seed | 1;
    const values = Array.from({ length: rows * width }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const value = fill ?? (scale * state) / 2 ** 31;
      return rounds ? Math.round(value) : value;
    });
    for (const [at, value] of odd) values[at] = value;
    return { rows, values };
  });

for (const option of options) {
  const device = cpu(option);
  test(`cpu ${JSON.stringify(option)} takes the token that the reference takes, with its log-probability`, async () => {
    const exact = reference();
    const before = device.memory().buffers;
    await fc.assert(
      fc.asyncProperty(logits, async ({ rows, values }) => {
        const rounded = values.map(Math.fround);
        const found = await likeliest(device, rounded, rows);
        const wanted = await likeliest(exact, rounded, rows);
        expect(found.tokens).toEqual(wanted.tokens);
        expect(found.named).toEqual(wanted.tokens);
        const logprobs = exactLogprobs(rounded, rows, wanted.tokens);
        for (const [i, logprob] of found.logprobs.entries()) {
          // In float32, of at most ln 4100 = 8.3 with sums of 128 terms each.
          const other = logprobs[i] ?? 0;
          if (Number.isFinite(other)) expect(Math.abs(logprob - other)).toBeLessThan(1e-5);
          else expect(logprob).toBe(wanted.logprobs[i]);
        }
      }),
      { numRuns: 60 },
    );
    expect(device.memory().buffers).toBe(before);
    device.dispose();
  });
}

test("one launch finds the likeliest of f32; other choices are the composition", async () => {
  const device = cpu({ threads: 1 });
  const likeliestOf = compile((scores: Tensor) => chooseTokens(scores, undefined).results);
  const names = (dtype: DType) => {
    using scores = zeros(device, [2, 5000], { dtype });
    likeliestOf(scores).dispose();
    return likeliestOf.profile(scores).map(({ name }) => name);
  };
  expect(names("f32")).toEqual(["chooseTokens"]);
  expect(names("f16").length).toBeGreaterThan(1);
  likeliestOf.dispose();
  device.dispose();
});
