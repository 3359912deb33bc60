import { readFileSync } from "node:fs";
import { loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import {
  frequencyPenalty,
  type LogitsProcessor,
  minP,
  presencePenalty,
  repetitionPenalty,
  temperature,
  topK,
  topP,
} from "./processors.js";
import { inverseCdf } from "./sampler.js";
import { softmaxOf } from "./scores.js";

const golden = new URL("../../test/golden/processors.safetensors", import.meta.url);

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
      for (const process of processors) process(scores, ids[row] ?? []);
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
