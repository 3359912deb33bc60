import { readFileSync } from "node:fs";
import { type CpuOptions, cpu, reference } from "@heddle/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type QuantizableType, quantize } from "./quantize.js";
import { quantizeOn } from "./quantize-on.js";

const golden: { input: string; quantized: Record<string, string> } = JSON.parse(
  readFileSync(new URL("../../test/golden/gguf/blocks.json", import.meta.url), "utf8"),
);
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

const levels: Record<string, CpuOptions> = {
  "two threads": { threads: 2 },
  "without relaxed SIMD": { threads: 1, disable: { relaxedSimd: true } },
  "128 bits": { threads: 1, disable: { revectorized: true } },
};

describe.each(Object.entries(levels))("quantizeOn a CPU, %s", (_, options) => {
  test.each(Object.keys(golden.quantized))("gives what ggml's own library gives for %s", async (type) => {
    const device = cpu(options);
    const input = new Float32Array(bytesOf(golden.input).buffer);
    const out = await quantizeOn(device, type as QuantizableType, input);
    expect(Array.from(out)).toEqual(Array.from(bytesOf(golden.quantized[type] ?? "")));
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test.each(["Q4_K", "Q6_K"] as const)("gives what quantize gives for %s", async (type) => {
    const device = cpu(options);
    // Blocks of many kinds: sizes, signs, a few numbers that repeat, zeros, one number that is not zero.
    const kinds: readonly ((value: number, i: number) => number)[] = [
      (value) => value,
      (value) => 1e-6 * value ** 3,
      (value) => Math.abs(value) + 3,
      (value) => -Math.abs(value) - 0.5,
      (value) => Math.round(value * 3) / 4,
      () => 0,
      () => -1.25,
      (value, i) => (i % 32 === 7 ? value : 0),
      (value) => 1e-20 * value,
      (value) => 4e4 * value,
      (value, i) => (i < 100 ? value : 1e-4 * value),
    ];
    const number = fc.double({ min: -8, max: 8, noNaN: true });
    const block = fc
      .tuple(fc.array(number, { minLength: 256, maxLength: 256 }), fc.nat({ max: kinds.length - 1 }))
      .map(([values, kind]) => values.map((value, i) => kinds[kind]?.(value, i) ?? 0));
    await fc.assert(
      fc.asyncProperty(fc.array(block, { minLength: 1, maxLength: 9 }), async (blocks) => {
        const values = Float32Array.from(blocks.flat());
        expect(Array.from(await quantizeOn(device, type, values))).toEqual(
          Array.from(quantize(type, values)),
        );
      }),
      { numRuns: 30, seed: 1 },
    );
    device.dispose();
  });
});

test("more values than one call takes, on all threads; other devices quantise as well", async () => {
  const device = cpu({ threads: 2 });
  const values = Float32Array.from(
    { length: 2 ** 20 + 256 * 5 },
    (_, i) => Math.sin(i * i * 1e-3) * (1 + (i % 7)),
  );
  const expected = quantize("Q6_K", values);
  expect(Buffer.compare(await quantizeOn(device, "Q6_K", values), expected)).toBe(0);
  const few = values.subarray(0, 512);
  expect(await quantizeOn(reference(), "Q4_K", few)).toEqual(quantize("Q4_K", few));
  await expect(quantizeOn(device, "Q4_K", new Float32Array(255))).rejects.toThrow(
    "quantize: Q4_K takes a multiple of 256 values; got 255 values. Keep such a tensor in F16.",
  );
  device.dispose();
});
