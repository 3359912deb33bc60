import { expect, test } from "vitest";
import { jobOf, rows, shapeOf, workOf } from "./rows.ts";
import { tensorShapes } from "./shapes.ts";

test.each([
  ["stories260k", 260_032],
  ["smollm2", 134_515_008],
  ["qwen2", 494_032_768],
])("%s has as many parameters as the model that it is named after", (name, expected) => {
  const sizes = [...tensorShapes(shapeOf(name)).values()].map((shape) => shape.reduce((a, b) => a * b, 1));
  expect(sizes.reduce((a, b) => a + b, 0)).toBe(expected);
});

test("prompts hold ids of the vocabulary, and the context holds prompt and answer", () => {
  for (const row of rows) {
    const job = jobOf(row, { file: "", threads: 2 });
    for (const id of job.prompts.flat()) expect(id).toBeLessThan(shapeOf(row.shape).vocabSize);
    const answer = row.caseName === "prefill" ? 1 : job.numTokens + 1;
    expect((job.prompts[0]?.length ?? 0) + answer).toBeLessThanOrEqual(job.maxSeqLen);
  }
});

test("a token reads every matrix once", () => {
  const [row] = rows;
  if (row === undefined) throw new Error("there are rows");
  expect(workOf(row).bytes / 1e6).toBeCloseTo(75.65, 1);
});
