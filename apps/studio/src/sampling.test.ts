import { expect, it } from "vitest";
import { initialSampling, requestFields } from "./sampling.js";

const model = {
  id: "m",
  vocabSize: 9,
  maxSeqLen: 128,
  hasChat: false,
  prefersChat: false,
  defaults: {},
  facts: {},
};

it("leaves out what is off", () => {
  const sampling = { ...initialSampling(model), topP: 1 };
  expect(requestFields(sampling)).toEqual({ temperature: 0.8, max_tokens: 128 });
});

it("sends what is on, and the model's own defaults first", () => {
  const sampling = initialSampling({ ...model, defaults: { temperature: 0.3, topP: 0.5 } });
  const all = { ...sampling, topK: 5, minP: 0.1, repetitionPenalty: 1.2, seed: "42", stop: "one\n\ntwo" };
  expect(requestFields(all)).toEqual({
    temperature: 0.3,
    top_p: 0.5,
    max_tokens: 128,
    top_k: 5,
    min_p: 0.1,
    repetition_penalty: 1.2,
    seed: 42,
    stop: ["one", "two"],
  });
});
