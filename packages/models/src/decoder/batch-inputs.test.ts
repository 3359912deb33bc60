import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenConfig } from "../../test/golden-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { batchInputs } from "./batch-inputs.js";

const device = reference();
const llama = { device, config: parseConfig(goldenConfig("llama")) };
const gpt2 = { device, config: parseConfig(goldenConfig("gpt2")) };

test("positions count tokens, padding on either side does not", async () => {
  const rows = [
    [0, 0, 5, 6],
    [5, 6, 0, 0],
  ];
  const mask = [
    [0, 0, 1, 1],
    [1, 1, 0, 0],
  ];
  const inputs = batchInputs(llama, rows, mask);
  expect(Array.from((await inputs.positions?.data()) ?? [])).toEqual([0, 0, 0, 1, 0, 1, 1, 1]);
  inputs.dispose();
  expect(device.memory().buffers).toBe(0);
});

test("what cannot be a batch", () => {
  expect(() => batchInputs(llama, [[1, 2], [3]])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: batchInputs: ids and mask must have 2 rows of 2; got rows of 2, 1. Pad the shorter ones.]`,
  );
  expect(() => batchInputs(llama, [[1, 2]], [[1]])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: batchInputs: ids and mask must have 1 rows of 2; got rows of 1. Pad the shorter ones.]`,
  );
  expect(() => batchInputs(llama, [[1, 72]])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: batchInputs: ids must be whole numbers below 72; got 72 at [0, 1]. Use the tokenizer of this model.]`,
  );
  expect(() => batchInputs(gpt2, [new Array(65).fill(1)])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: batchInputs: rows must not pass the learned positions; got 65 tokens, the model has 64. Shorten the text.]`,
  );
});
