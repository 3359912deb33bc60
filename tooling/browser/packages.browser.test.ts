import { globSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BrowserPage, openSourcePage } from "./page.ts";

const names = globSync("packages/*/package.json").map(
  (path): string => JSON.parse(readFileSync(path, "utf8")).name,
);
let opened: BrowserPage;

beforeAll(async () => {
  opened = await openSourcePage();
});
afterAll(() => opened[Symbol.asyncDispose]());

test.each(names)("%s offers a page what it offers Node", async (name) => {
  const inNode = Object.keys(await import(name)).sort();
  const inPage = await opened.page.evaluate(
    async (specifier) => Object.keys(await window.load(specifier)).sort(),
    name,
  );
  expect(inPage).toEqual(inNode);
  expect(opened.errors).toEqual([]);
});

test("the page is cross-origin isolated", async () => {
  expect(await opened.page.evaluate(() => crossOriginIsolated)).toBe(true);
});
