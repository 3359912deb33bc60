import { readFileSync } from "node:fs";
import { loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { forceToken, minLength, suppressTokens } from "./forcing.js";
import {
  badWords,
  exponentialDecay,
  frequencyPenalty,
  noRepeatNgram,
  presencePenalty,
  repetitionPenalty,
  sequenceBias,
} from "./penalties.js";
import { chain, type LogitsProcessor, normalizeScores, temperature } from "./processors.js";
import { inverseCdf } from "./sampler.js";
import { softmaxOf } from "./scores.js";
import {
  epsilonCutoff,
  etaCutoff,
  excludeTopChoices,
  minP,
  topH,
  topK,
  topNSigma,
  topP,
  typical,
} from "./truncation.js";

const golden = new URL("../../../test/golden/processors.safetensors", import.meta.url);

async function readGolden(): Promise<Record<string, number[]>> {
  const source = memorySource({ "model.safetensors": new Uint8Array(readFileSync(golden)) });
  const tensors = await loadTensors(await openSafetensors(source), { device: reference() });
  const entries = Object.entries(tensors).map(
    async ([name, x]) => [name, Array.from(await x.data())] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

const values = await readGolden();
const rows = (name: string, width: number) =>
  Array.from({ length: 4 }, (_, row) => (values[name] ?? []).slice(row * width, (row + 1) * width));

const cases: Record<string, LogitsProcessor[]> = {
  "temperature_0.5": [temperature(0.5)],
  "temperature_1.7": [temperature(1.7)],
  top_k_1: [topK(1)],
  top_k_5: [topK(5)],
  top_k_10: [topK(10)],
  "top_p_0.3": [topP(0.3)],
  "top_p_0.9": [topP(0.9)],
  "top_p_0.95": [topP(0.95)],
  top_p_min_tokens: [topP(0.2, { minTokensToKeep: 3 })],
  "min_p_0.05": [minP(0.05)],
  "min_p_0.2": [minP(0.2)],
  "repetition_1.3": [repetitionPenalty(1.3)],
  "repetition_0.8": [repetitionPenalty(0.8)],
  frequency: [frequencyPenalty(0.4)],
  presence: [presencePenalty(0.6)],
  frequency_presence: [frequencyPenalty(0.3), presencePenalty(0.5)],
  "typical_0.2": [typical(0.2)],
  "typical_0.9": [typical(0.9)],
  epsilon: [epsilonCutoff(0.02)],
  eta: [etaCutoff(0.02)],
  top_h: [topH(0.4)],
  top_n_sigma: [topNSigma(1)],
  xtc: [excludeTopChoices({ threshold: 0.1, probability: 1, random: () => 0.5 })],
  no_repeat_ngram_1: [noRepeatNgram(1)],
  no_repeat_ngram_2: [noRepeatNgram(2)],
  no_repeat_ngram_3: [noRepeatNgram(3)],
  bad_words: [badWords([[4], [28, 9]])],
  sequence_bias: [
    sequenceBias([
      [[6], -2.5],
      [[28, 8], 3],
    ]),
  ],
  exponential_decay: [exponentialDecay({ start: 5, factor: 1.2, eosTokenIds: [2], promptLength: 4 })],
  min_length: [minLength(20, [2])],
  forced_eos: [forceToken(2, { length: 14 })],
  suppress: [suppressTokens([4, 9, 11])],
  log_softmax: [normalizeScores()],
  chain: [repetitionPenalty(1.2), temperature(0.8), topK(12), topP(0.9), minP(0.05)],
};

test.each(Object.entries(cases))(
  "%s gives the scores and probabilities of transformers",
  (name, processors) => {
    const logits = rows("logits", 32);
    const ids = rows("input_ids", 14);
    const expectedScores = rows(`${name}.scores`, 32);
    const expectedProbabilities = rows(`${name}.probs`, 32);
    for (let row = 0; row < 4; row++) {
      const scores = Float64Array.from(logits[row] ?? []);
      chain(...processors)(scores, ids[row] ?? []);
      for (const [id, expected] of (expectedScores[row] ?? []).entries()) {
        if (expected === Number.NEGATIVE_INFINITY) expect(scores[id]).toBe(expected);
        else expect(Math.abs((scores[id] ?? Number.NaN) - expected)).toBeLessThan(1e-5);
      }
      const probabilities = softmaxOf(scores);
      for (const [id, expected] of (expectedProbabilities[row] ?? []).entries()) {
        expect(Math.abs((probabilities[id] ?? Number.NaN) - expected)).toBeLessThan(1e-5);
      }
    }
  },
);

test("drawing walks the probabilities in the order of ids", () => {
  const draws = rows("inverse_cdf.u", 6);
  const expected = rows("inverse_cdf.token", 6);
  for (const [row, logits] of rows("logits", 32).entries()) {
    const probabilities = softmaxOf(Float64Array.from(logits));
    expect((draws[row] ?? []).map((u) => inverseCdf(probabilities, u))).toEqual(expected[row]);
  }
});

test("every golden case is run", () => {
  const names = Object.keys(values).filter((name) => name.endsWith(".scores"));
  expect(names.map((name) => name.slice(0, -".scores".length)).sort()).toEqual(Object.keys(cases).sort());
});

test("top choices are excluded only as often as asked for", () => {
  const draws = [0.1, 0.9, 0.4];
  const process = excludeTopChoices({ threshold: 0.2, probability: 0.5, random: () => draws.shift() ?? 1 });
  const isChanged = () => {
    const scores = Float64Array.of(2, 2, 1);
    process(scores, []);
    return scores.includes(Number.NEGATIVE_INFINITY);
  };
  expect([isChanged(), isChanged(), isChanged()]).toEqual([true, false, true]);
});

test("lengths at which a token is forced or kept back", () => {
  const after = (process: LogitsProcessor, length: number) => {
    const scores = Float64Array.of(1, 2, 3);
    process(scores, new Int32Array(length));
    return Array.from(scores);
  };
  const none = Number.NEGATIVE_INFINITY;
  expect(after(forceToken(1, { length: 4 }), 3)).toEqual([1, 2, 3]);
  expect(after(forceToken(1, { length: 4 }), 4)).toEqual([none, 0, none]);
  expect(after(minLength(5, [2]), 4)).toEqual([1, 2, none]);
  expect(after(minLength(5, [2]), 5)).toEqual([1, 2, 3]);
});
