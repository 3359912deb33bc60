import { expect, test } from "vitest";
import { randomWords, wordToUnit } from "../../philox.js";
import { hostArray } from "../../reference/host-array.js";
import { randomKernel } from "./random.js";
import { machines, runKernel } from "./testing/run-kernel.js";

test.each([0, 1, 4, 15, 16, 17, 1024, 5003])("%i random elements match the scalar generator", (elements) => {
  const key = hostArray({ shape: [2], dtype: "u32" });
  key.data.set([0x12345678, 0xfedcba98]);
  const words = randomWords([0x12345678, 0xfedcba98], elements, 2);
  for (const features of machines) {
    for (const ranges of [1, 3]) {
      const drawn = randomKernel({ elements, stream: 2, kind: "words" }, features);
      const [out] = runKernel(drawn, [key], [{ shape: [elements], dtype: "u32" }], { ranges });
      expect(out?.data).toEqual(words);
      const uniform = randomKernel({ elements, stream: 2, kind: "uniform" }, features);
      const [units] = runKernel(uniform, [key], [{ shape: [elements], dtype: "f32" }], { ranges });
      expect(units?.data).toEqual(Float32Array.from(words, wordToUnit));
    }
  }
});
