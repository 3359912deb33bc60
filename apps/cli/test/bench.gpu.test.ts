import { webgpu } from "@heddle/gpu";
import { expect, test } from "vitest";
import { describeRates, measureRates } from "../src/bench/device-rates.js";

const found = await webgpu().catch((error: unknown) => String(error));

if (typeof found === "string") test.skip(`a GPU's own rates: ${found}`);
else {
  test("a GPU's own rates are measured, and its memory given back", async () => {
    const before = found.memory().buffers;
    const rates = await measureRates(found, { copyBytes: 2 ** 20, width: 256, edge: 64 });
    expect(found.memory().buffers).toBe(before);
    const { sizes: _sizes, ...numbers } = rates;
    for (const rate of Object.values(numbers)) expect(rate).toBeGreaterThan(0);
    expect(describeRates(rates)).toMatch(
      /^copy \d+ GB\/s; one row x 256x256 f16 \d+ GB\/s \(\d+ % of the copy\)\n64x64x64: f32 [\d.e-]+ TFLOP\/s, f16 [\d.e-]+ TFLOP\/s\n$/,
    );
    found.dispose();
  });
}
