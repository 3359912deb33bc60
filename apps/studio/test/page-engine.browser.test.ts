import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { useStudioPages } from "./studio-pages.js";

const model = fileURLToPath(new URL("../../../packages/tiny-stories/model", import.meta.url));
const pages = useStudioPages(
  {},
  {
    addFiles: (folder) => cpSync(model, `${folder}/model`, { recursive: true }),
    args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
  },
);

it("switches from the server to an engine inside the page, and back", async () => {
  const page = await pages.open();
  const asked: string[] = [];
  await page.getByRole("heading", { name: "Sampling" }).waitFor();
  await page.getByRole("radio", { name: "This page" }).check();
  await page.getByText("tiny-stories, in this page").waitFor({ timeout: 60_000 });
  page.on("request", (request) => request.method() === "POST" && asked.push(request.url()));
  await page.getByRole("radio", { name: "Complete" }).check();
  await page.getByRole("spinbutton", { name: "Most tokens" }).fill("3");
  await page.getByRole("button", { name: "Continue the text" }).click();
  await page.getByText("3 tokens").waitFor({ timeout: 240_000 });
  expect(await page.getByRole("option").count()).toBeGreaterThanOrEqual(3);
  await page.getByRole("link", { name: "Layers" }).click();
  await page.locator(".lens-table tbody tr").first().waitFor({ timeout: 240_000 });
  expect(await page.locator(".lens-table tbody tr").count()).toBe(7); // the embedding and six layers
  await page.getByRole("link", { name: "Attention" }).click();
  await page.getByRole("img", { name: /^Attention weights of layer 0/ }).waitFor({ timeout: 240_000 });
  // All of it happened in the page: the server was asked for nothing.
  expect(asked).toEqual([]);
  expect(pages.studio().engine.stats().totals.finished).toBe(0);
  await page.getByRole("radio", { name: "Server" }).check();
  await expect.poll(() => page.getByText("tiny-stories, in this page").count()).toBe(0);
});
