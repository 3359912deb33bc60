import { describe, expect, test } from "vitest";
import { HeddleError } from "../error.js";
import { detectFeatures } from "./features.js";

describe("detectFeatures", () => {
  test("finds what Node has: shared memory and relaxed SIMD", () => {
    expect(detectFeatures()).toMatchObject({ relaxedSimd: true, sharedMemory: true });
    expect(detectFeatures().threads).toBeGreaterThanOrEqual(1);
  });

  test("takes the number of threads asked for", () => {
    expect(detectFeatures({ threads: 7 }).threads).toBe(7);
  });

  test.each([0, 1.5, 65, Number.NaN])("refuses %d threads", (threads) => {
    expect(() => detectFeatures({ threads })).toThrow(HeddleError);
    expect(() => detectFeatures({ threads })).toThrow(
      `cpu: threads must be a whole number in 1..64; got threads ${threads}. Leave it out to use every core.`,
    );
  });

  test("says what is missing without WebAssembly SIMD", () => {
    const { validate } = WebAssembly;
    WebAssembly.validate = () => false;
    try {
      expect(() => detectFeatures()).toThrowErrorMatchingInlineSnapshot(
        `[HeddleError: cpu: the device needs WebAssembly with 128-bit SIMD; got an engine without it. Use Node 22, Chrome 91, Firefox 89, Safari 16.4 or later; reference() runs everywhere.]`,
      );
    } finally {
      WebAssembly.validate = validate;
    }
  });
});
