import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchChromium } from "../../../tooling/browser/chromium.js";
import { type StudioServer, startStudio } from "./studio-server.js";

const model = fileURLToPath(new URL("../../../packages/tiny-stories/model", import.meta.url));
let studio: StudioServer;
let browser: Browser;

beforeAll(async () => {
  studio = await startStudio({}, (folder) => cpSync(model, `${folder}/model`, { recursive: true }));
  browser = await launchChromium({ args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] });
});
afterAll(async () => {
  await browser.close();
  await studio.close();
});

it("switches from the server to an engine inside the page, and back", async () => {
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const asked: string[] = [];
  await page.goto(studio.url);
  await page.getByRole("heading", { name: "Sampling" }).waitFor();
  await page.getByRole("radio", { name: "This page" }).check();
  await page.getByText("tiny-stories, in this page").waitFor({ timeout: 60_000 });
  page.on("request", (request) => request.method() === "POST" && asked.push(request.url()));
  await page.getByRole("radio", { name: "Complete" }).check();
  await page.getByRole("spinbutton", { name: "Most tokens" }).fill("3");
  await page.getByRole("button", { name: "Continue the text" }).click();
  await page.getByText("3 tokens").waitFor({ timeout: 240_000 });
  expect(await page.getByRole("option").count()).toBeGreaterThanOrEqual(3);
  // All of it happened in the page: the server was asked for nothing.
  expect(asked).toEqual([]);
  expect(studio.engine.stats().totals.finished).toBe(0);
  await page.getByRole("radio", { name: "Server" }).check();
  await expect.poll(() => page.getByText("tiny-stories, in this page").count()).toBe(0);
  expect(errors).toEqual([]);
  await page.close();
});
