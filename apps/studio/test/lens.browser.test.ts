import { expect, it } from "vitest";
import { useStudioPages } from "./studio-pages.js";

const pages = useStudioPages();
const text = "Who lost the boat";

async function open(options: Parameters<typeof pages.open>[0] = {}) {
  const page = await pages.open({ place: "lens", ...options });
  await page.getByLabel("Text").fill(text);
  await expect
    .poll(() => page.locator(".lens-table tfoot th").allTextContents())
    .toEqual(["text", "Who", "␣lost", "␣the", "␣boat"]);
  return page;
}

it("shows what each layer would say, the last on top, and its alternatives to the pointer and the keyboard", async () => {
  const page = await open();
  const rows = page.locator(".lens-table tbody tr");
  expect(await rows.locator("th").allTextContents()).toEqual([
    "layer 3",
    "layer 2",
    "layer 1",
    "layer 0",
    "embedding",
  ]);
  const said = rows.first().getByRole("button");
  expect(await said.first().textContent()).toBe("␣lost"); // of a story in which "Who" is followed by that
  const card = page.locator(".token-card");
  await said.first().hover();
  expect(await card.getByRole("row").count()).toBe(5);
  expect(await card.textContent()).toMatch(/layer 3.*entropy \d\.\d\d nats/);
  await page.mouse.move(2, 2);
  await expect.poll(() => card.count()).toBe(0);

  await said.first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("End");
  expect(await card.textContent()).toMatch(/layer 2/);
  expect(await page.locator(".lens-table .is-pointed").getAttribute("data-place")).toBe("1,3");
  await page.keyboard.press("Escape");
  await expect.poll(() => card.count()).toBe(0);
});

it("colours by probability or by entropy, which fall and rise together with what the layers know", async () => {
  const page = await open();
  const weights = async () =>
    page
      .locator(".lens-table [data-place$=',0']")
      .evaluateAll((cells) =>
        cells.map((cell) => Number(getComputedStyle(cell).getPropertyValue("--weight"))),
      );
  const byProbability = await weights();
  expect(byProbability.toSorted((a, b) => b - a)).toEqual(byProbability);
  await page.getByRole("radio", { name: "Entropy" }).check();
  const byEntropy = await weights();
  expect(byEntropy.toSorted((a, b) => a - b)).toEqual(byEntropy);
  expect(byEntropy.at(-1)).toBe(1); // the embedding knows nothing: all tokens alike
});

it("tells what the server refuses", async () => {
  const page = await open();
  const refused = page.waitForResponse((response) => response.status() === 400);
  await page.getByLabel("Text").fill("");
  await refused;
  await page.getByRole("alert").waitFor();
  expect(await page.getByRole("alert").textContent()).toContain("The text must have a token");
  pages.forgiveError();
});

it.each(["light", "dark"] as const)("can be read in %s, and fits a phone", async (colorScheme) => {
  const page = await open({
    colorScheme,
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  await page.locator("[data-place='0,3']").tap();
  const card = await page.locator(".token-card").boundingBox();
  expect((card?.x ?? -1) >= 0 && (card?.x ?? 0) + (card?.width ?? 0) <= 390).toBe(true);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
});

it("says so where the server shows no layers", async () => {
  const page = await pages.open({ place: "attention" });
  await page.getByText("This server does not show attention.").waitFor();
});
