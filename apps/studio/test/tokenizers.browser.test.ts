import { readFile } from "node:fs/promises";
import type { BrowserContextOptions, Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { enoughContrast, measureContrast } from "./contrast.js";
import { useStudioPages } from "./studio-pages.js";

const pages = useStudioPages();

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const page = await pages.open(options);
  await page.getByRole("link", { name: "Tokenizers" }).click();
  await page.getByRole("heading", { name: "Train a vocabulary" }).waitFor();
  return page;
}

const pane = (page: Page, which: "First" | "Second") =>
  page.getByRole("region", { name: `${which} tokenizer` });
const bits = (page: Page, which: "First" | "Second") =>
  pane(page, which)
    .getByRole("listbox", { name: /^Tokens/ })
    .getByRole("option");
const write = (page: Page, text: string) => page.getByLabel("Text to cut into tokens").fill(text);

describe("the bench for tokenizers", () => {
  it("cuts a text in two ways and links what stands for the same characters", async () => {
    const page = await open();
    await write(page, "the cat é");
    const first = bits(page, "First");
    await expect.poll(() => first.count()).toBe(9);
    expect(await first.nth(8).textContent()).toBe("é2");
    const second = bits(page, "Second");
    expect((await second.allTextContents()).slice(1).join("").replace(/\d/g, "")).toBe("the cat é");
    await first.nth(5).hover();
    await pane(page, "First").getByText("a (id 97), characters 5 to 6").waitFor();
    await expect.poll(() => pane(page, "Second").locator(".is-under").count()).toBe(1);
  });

  it("goes from token to token with the keyboard", async () => {
    const page = await open();
    await write(page, "abc");
    await expect.poll(() => bits(page, "First").count()).toBe(3);
    await bits(page, "First").first().focus();
    await page.keyboard.press("ArrowRight");
    await pane(page, "First").getByText("b (id 98), characters 1 to 2").waitFor();
    await page.keyboard.press("End");
    await pane(page, "First").getByText("c (id 99), characters 2 to 3").waitFor();
  });

  it("lists tokens with their ids and places in characters and bytes", async () => {
    const page = await open();
    await write(page, "é!");
    await page.getByRole("radio", { name: "List" }).check();
    const rows = pane(page, "First").getByRole("row");
    await expect
      .poll(() => rows.allTextContents())
      .toEqual(["tokenidcharactersbytes", "Ã1950–10–2", "©1690–10–2", "!331–22–3"]);
  });

  it("opens a tokenizer from disk, and says what is wrong with a file that is none", async () => {
    const page = await open();
    const json = {
      model: { type: "WordLevel", vocab: { "[UNK]": 0, cat: 1, the: 2 }, unk_token: "[UNK]" },
      pre_tokenizer: { type: "WhitespaceSplit" },
      added_tokens: [],
    };
    const input = page.getByLabel("Open a tokenizer");
    await input.setInputFiles({
      name: "words.json",
      mimeType: "application/json",
      buffer: Buffer.from(JSON.stringify(json)),
    });
    await write(page, "the cat sat");
    await expect.poll(() => pane(page, "Second").getByRole("combobox").inputValue()).toBe("2");
    await expect
      .poll(() => pane(page, "Second").locator(".bit:not(.is-bare)").allTextContents())
      .toEqual(["the", "cat", "sat"]);
    await input.setInputFiles({ name: "bad.json", mimeType: "application/json", buffer: Buffer.from("{]") });
    await page
      .getByRole("alert")
      .filter({ hasText: "bad.json: fromTokenizerJson: the text must be JSON" })
      .waitFor();
  });

  it("trains a vocabulary, draws what it is worth, and saves it", async () => {
    const page = await open();
    await write(page, "the cat sat on the mat, the cat sat on the hat. ".repeat(20));
    await page.getByRole("slider", { name: "Tokens at most" }).fill("260");
    await page.getByRole("button", { name: "Train", exact: true }).click();
    const curve = page.getByRole("img", { name: /^Characters to a token: 1\.00 with 256 tokens/ });
    await curve.waitFor();
    expect(await curve.getAttribute("aria-label")).toMatch(/, 1\.\d\d with 260\.$/);
    await expect
      .poll(() => pane(page, "Second").getByRole("combobox").textContent())
      .toContain("Trained here (260)");
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save as tokenizer.json" }).click();
    const saved = JSON.parse(await readFile(await (await download).path(), "utf8")) as {
      model: { merges: unknown[] };
    };
    expect(saved.model.merges.length).toBe(4);
  });

  it("needs no server for its work", async () => {
    const page = await open();
    await page.context().setOffline(true);
    await write(page, "offline");
    await expect.poll(() => bits(page, "First").count()).toBe(7);
  });

  it.each(["light", "dark"] as const)("has enough contrast in %s", async (colorScheme) => {
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    const ratios = await measureContrast(page, ".bit, .counts dt, .counts dd, .hint, .places a");
    expect(ratios.length).toBeGreaterThan(200);
    expect(ratios.filter(({ ratio }) => ratio < enoughContrast)).toEqual([]);
  });

  it("fits a phone", async () => {
    const page = await open({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await page.getByRole("button", { name: "Train", exact: true }).tap();
    await page.getByRole("img", { name: /^Characters to a token/ }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    await page.getByRole("radio", { name: "List" }).check();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  });

  it("names every control", async () => {
    const page = await open();
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLInputElement>("input, textarea, button, select")]
        .filter((control) => (control.labels?.[0]?.textContent ?? control.textContent ?? "").trim() === "")
        .map((control) => control.outerHTML),
    );
    expect(unnamed).toEqual([]);
  });
});
