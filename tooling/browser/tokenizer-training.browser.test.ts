import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BrowserPage, openSourcePage } from "./page.ts";

let browser: BrowserPage;
beforeAll(async () => {
  browser = await openSourcePage({ isIsolated: false });
});
afterAll(async () => {
  expect(browser.errors).toEqual([]);
  await browser[Symbol.asyncDispose]();
});

describe("in a page without shared memory", () => {
  it("trains in Web Workers what one thread trains", async () => {
    const corpus = readFileSync(
      join(import.meta.dirname, "../../packages/tokenizers/test/golden/corpus.txt"),
      "utf8",
    );
    const [alone, together] = await browser.page.evaluate(async (text) => {
      const { trainByteLevelBpe } = await window.load("@heddle/tokenizers");
      const texts = Array.from({ length: 12 }, () => text.split("\n")).flat();
      const workers = [0, 1].map(
        () => new Worker("/tooling/browser/tokenizer-worker.js", { type: "module" }),
      );
      const merges = async (options: object) => {
        const { config } = await trainByteLevelBpe(texts, { vocabSize: 400, ...options });
        return JSON.stringify(config.model.merges);
      };
      const results = [await merges({}), await merges({ workers })];
      for (const worker of workers) worker.terminate();
      return results;
    }, corpus);
    expect(alone?.length).toBeGreaterThan(1000);
    expect(together).toBe(alone);
  });
});
