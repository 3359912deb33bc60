import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrowserPage, openSourcePage } from "./page.ts";

describe.each([
  ["isolated", true],
  ["plain", false],
] as const)("cpu in a page that is %s", (_, isIsolated) => {
  let opened: BrowserPage;
  beforeAll(async () => {
    opened = await openSourcePage({ isIsolated });
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  test("multiplies matrices, on threads where memory can be shared", async () => {
    const found = await opened.page.evaluate(async () => {
      const { cpu, tensor } = await window.load("@heddle/tensor");
      const device = cpu({ threads: 3 });
      const size = 300;
      const a = tensor(
        device,
        Float32Array.from({ length: size * size }, (_, i) => (i % 7) - 3),
        { shape: [size, size] },
      );
      const b = tensor(
        device,
        Float32Array.from({ length: size * size }, (_, i) => (i % 5) - 2),
        { shape: [size, size] },
      );
      let wrong = 0;
      for (let round = 0; round < 20; round++) {
        const product = a.matmul(b);
        const values = await product.data();
        for (let row = 0; row < size; row += 13) {
          for (let column = 0; column < size; column++) {
            let sum = 0;
            for (let k = 0; k < size; k++)
              sum += (((row * size + k) % 7) - 3) * (((k * size + column) % 5) - 2);
            if (values[row * size + column] !== sum) wrong++;
          }
        }
        product.dispose();
        // Lets the browser start the workers, which join when they are there.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const { features, limits } = device;
      const helped = device.workerChunks > 0;
      const result = { wrong, helped, threads: limits.threads, features, buffers: device.memory().buffers };
      device.dispose();
      return result;
    });
    expect(found).toMatchObject({
      wrong: 0,
      helped: isIsolated,
      threads: isIsolated ? 3 : 1,
      features: { sharedMemory: isIsolated, revectorized: false },
      buffers: 2,
    });
    expect(opened.errors).toEqual([]);
  });
});
