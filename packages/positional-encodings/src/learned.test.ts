import { randn, reference, tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { worstGradient } from "../test/compare.js";
import { learned } from "./learned.js";

const device = reference();
const table = tensor(device, [
  [0, 1],
  [2, 3],
  [4, 5],
  [6, 7],
]);

test("adds the row of each position", () => {
  const x = zeros(device, [1, 2, 2]);
  expect(Array.from(learned(table).addTo(x).dataSync())).toEqual([0, 1, 2, 3]);
  const positions = tensor(device, Int32Array.of(3, 0), { shape: [1, 2] });
  expect(Array.from(learned(table).addTo(x, { positions }).dataSync())).toEqual([6, 7, 0, 1]);
});

test("OPT's offset skips two rows", () => {
  const x = zeros(device, [1, 2, 2]);
  expect(Array.from(learned(table, { offset: 2 }).addTo(x).dataSync())).toEqual([4, 5, 6, 7]);
});

test("gradients of input and table are those of central differences", () => {
  const x = randn(device, [2, 3, 2], { seed: 1 });
  const positions = tensor(device, Int32Array.of(3, 1, 1, 0, 2, 2), { shape: [2, 3] });
  const worst = worstGradient([x, table], ([input = x, rows = table]) =>
    learned(rows).addTo(input, { positions }),
  );
  expect(worst).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  expect(() => learned(table.reshape([8]))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: learned: table must be [maxSeqLen + offset, E]; got table [8]. Reshape it, or check the model's config.]`,
  );
  expect(() => learned(table).addTo(zeros(device, [1, 2, 3]))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: learned: x must be [B, T, 2]; got x [1, 2, 3]. Reshape it, or check the model's config.]`,
  );
  expect(() =>
    learned(table, { offset: 2 }).addTo(zeros(device, [1, 3, 2])),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: learned: the table must have a row for every token; got 4 rows, offset 2, seqLen 3. Cut the text to 2 tokens.]`,
  );
});
