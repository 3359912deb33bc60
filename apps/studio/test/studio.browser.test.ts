import type { BrowserContextOptions, Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { enoughContrast, measureContrast } from "./contrast.js";
import { useStudioPages } from "./studio-pages.js";
import { startStudio } from "./studio-server.js";

const pages = useStudioPages();

/** Opens the page and waits until it has reached its server. */
async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const page = await pages.open(options);
  await page.getByRole("heading", { name: "Sampling" }).waitFor();
  return page;
}

async function complete(page: Page): Promise<void> {
  await page.getByRole("radio", { name: "Complete" }).check();
  await page.getByRole("spinbutton", { name: "Most tokens" }).fill("30");
  await page.getByRole("button", { name: "Continue the text" }).click();
  await page.getByText("30 tokens").waitFor();
}

describe("completing", () => {
  it("streams a text, token by token, and stops when told", async () => {
    const page = await open();
    await page.getByRole("radio", { name: "Complete" }).check();
    await page.getByRole("button", { name: "Continue the text" }).click();
    const tokens = page.getByRole("option");
    await expect.poll(() => tokens.count()).toBeGreaterThan(3);
    const soon = await tokens.count();
    await expect.poll(() => tokens.count()).toBeGreaterThan(soon + 5);
    expect(pages.studio().engine.stats().running).toBe(1);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText(/tokens, .* a second, stopped/).waitFor();
    await expect.poll(() => pages.studio().engine.stats().slots.used).toBe(0);
    expect(await tokens.count()).toBeLessThan(256);
  });

  it("shows the alternatives of a token to the pointer and to the keyboard", async () => {
    const page = await open();
    await complete(page);
    const card = page.locator(".token-card");
    await page.getByRole("option").nth(7).hover();
    expect(await card.getByRole("row").count()).toBeGreaterThanOrEqual(6);
    const id = await card.getByText(/^id \d+$/).textContent();
    await page.mouse.move(2, 2);
    await expect.poll(() => card.count()).toBe(0);

    await page.getByRole("option").first().focus();
    for (let i = 0; i < 7; i++) await page.keyboard.press("ArrowRight");
    expect(await card.getByText(/^id \d+$/).textContent()).toBe(id);
    expect(await card.locator(".is-chosen").count()).toBe(1);
    await page.keyboard.press("Escape");
    await expect.poll(() => card.count()).toBe(0);
    await page.keyboard.press("End");
    expect(await page.getByRole("option", { selected: true }).getAttribute("data-index")).toBe("29");
  });

  it("shows tokens with their ids, those of the prompt too", async () => {
    const page = await open();
    await complete(page);
    await page.getByRole("radio", { name: "Tokens" }).check();
    await page.getByText("8 prompt tokens").waitFor();
    expect(await page.locator(".of-prompt .token").first().textContent()).toBe("Once0");
    for (const text of await page.getByRole("option").allTextContents()) expect(text).toMatch(/\d$/);
  });

  it("keeps what was written, to go on from there", async () => {
    const page = await open();
    await complete(page);
    const written = (await page.getByRole("option").allTextContents()).join("");
    await page.getByRole("button", { name: "Keep it" }).click();
    expect(await page.getByLabel("Beginning of the text").inputValue()).toBe(
      `Once upon a time, there was a${written}`,
    );
    expect(await page.getByRole("option").count()).toBe(0);
  });

  it("repeats itself for the same seed", async () => {
    const page = await open();
    await page.getByText("More", { exact: true }).click();
    await page.getByLabel("Seed").fill("7");
    const texts: string[] = [];
    await complete(page);
    texts.push((await page.getByRole("option").allTextContents()).join(""));
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByText("30 tokens").waitFor();
    texts.push((await page.getByRole("option").allTextContents()).join(""));
    expect(texts[1]).toBe(texts[0]);
  });

  it("tells what the server refuses", async () => {
    const page = await open();
    await page.getByRole("radio", { name: "Complete" }).check();
    await page.getByLabel("Beginning of the text").fill("the fox ".repeat(600));
    const refused = page.waitForResponse((response) => response.status() === 400);
    await page.getByRole("button", { name: "Continue the text" }).click();
    await refused;
    expect(await page.getByRole("alert").textContent()).toContain("maxSeqLen 512");
    pages.forgiveError();
  });
});

describe("chatting", () => {
  it("holds a conversation", async () => {
    const page = await open();
    await page.getByRole("radio", { name: "Chat" }).check();
    await page.getByRole("spinbutton", { name: "Most tokens" }).fill("20");
    for (const [i, message] of ["Who is the fox?", "And the duck?"].entries()) {
      await page.getByLabel("Your message").fill(message);
      await page.keyboard.press("Enter");
      await page.getByText("20 tokens").waitFor();
      await page.getByRole("button", { name: "Send" }).waitFor();
      expect(await page.getByRole("listitem").count()).toBe(2 * (i + 1));
    }
    expect(await page.getByRole("listitem").nth(2).textContent()).toContain("And the duck?");
    await page.getByRole("button", { name: "Start over" }).click();
    expect(await page.getByRole("listitem").count()).toBe(0);
  });

  it("leaves the engine free when the page is closed in the middle", async () => {
    const page = await open();
    await page.getByLabel("Your message").fill("Tell me a story.");
    await page.keyboard.press("Enter");
    await expect.poll(() => pages.studio().engine.stats().running).toBe(1);
    await page.close();
    await expect.poll(() => pages.studio().engine.stats().slots.used).toBe(0);
  });
});

describe("the engine's panel", () => {
  it("follows the engine", async () => {
    const page = await open();
    const running = page.locator(".figure", { hasText: "Running" }).locator(".value");
    await expect.poll(() => running.textContent()).toBe("0");
    const { url } = pages.studio();
    const busy = Array.from({ length: 10 }, () =>
      fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt: "Once", max_tokens: 100, ignore_eos: true }),
      }).then((response) => response.text()),
    );
    await expect.poll(() => running.textContent()).toBe("8");
    expect(await page.locator(".figure", { hasText: "Queued" }).locator(".value").textContent()).toBe("2");
    expect(await page.getByRole("img", { name: "8 of 8 slots in use" }).count()).toBe(1);
    const speed = page.locator(".figure.is-main .value");
    await expect.poll(async () => Number(await speed.textContent())).toBeGreaterThan(50);
    await Promise.all(busy);
    await expect.poll(() => running.textContent(), { timeout: 5000 }).toBe("0");
  });
});

describe("for everybody", () => {
  it("works with the keyboard alone, and shows where one is", async () => {
    const page = await open();
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement;
        if (!(element instanceof HTMLElement)) return { name: "", isMarked: false };
        const shown = element.matches("input[type=radio]") ? element.nextElementSibling : element;
        const marks = [shown, element.closest("label")].map((each) =>
          each ? getComputedStyle(each) : undefined,
        );
        const isMarked = marks.some(
          (style) =>
            style !== undefined && (style.outlineStyle === "solid" || style.borderInlineStartWidth === "2px"),
        );
        return { name: (element.textContent || element.id || element.tagName).trim(), isMarked };
      });
    await page.keyboard.press("Tab");
    expect(await focused()).toEqual({ name: "Skip to the playground", isMarked: true });
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab"); // to the engine's switch
    expect((await focused()).isMarked).toBe(true);
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowLeft"); // from Chat to Complete
    for (let i = 0; i < 5; i++) {
      expect((await focused()).isMarked).toBe(true);
      await page.keyboard.press("Tab");
    }
    await page.getByLabel("Beginning of the text").focus();
    await page.keyboard.press("Control+Enter");
    await expect.poll(() => page.getByRole("option").count()).toBeGreaterThan(3);
    await page.keyboard.press("Escape");
    await page.getByText(/stopped/).waitFor();
  });

  it("names every control", async () => {
    const page = await open();
    await page.getByText("More", { exact: true }).click();
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLInputElement>("input, textarea, button")]
        .filter((control) => (control.labels?.[0]?.textContent ?? control.textContent ?? "").trim() === "")
        .map((control) => control.outerHTML),
    );
    expect(unnamed).toEqual([]);
  });

  it.each(["light", "dark"] as const)("has enough contrast in %s", async (colorScheme) => {
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    await complete(page);
    const ratios = await measureContrast(
      page,
      "h1 span, .status, .hint, .token, .primary, dt, .value, .choice",
    );
    expect(ratios.length).toBeGreaterThan(20);
    expect(ratios.filter(({ ratio }) => ratio < enoughContrast)).toEqual([]);
  });

  it("fits a phone", async () => {
    const page = await open({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await complete(page);
    await page.getByRole("option").nth(9).tap();
    await page.locator(".token-card").waitFor();
    await page.getByRole("radio", { name: "Tokens" }).check();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button")]
        .filter((button) => button.offsetHeight < 36)
        .map((button) => button.textContent),
    );
    expect(small).toEqual([]);
  });

  it("keeps still where motion is not wanted", async () => {
    const page = await open({ reducedMotion: "reduce" });
    const moving = await page.evaluate(
      () =>
        [...document.querySelectorAll("*")].filter(
          (element) => getComputedStyle(element).transitionDuration !== "0s",
        ).length,
    );
    expect(moving).toBe(0);
  });
});

describe("a guarded server", () => {
  it("asks for the key, says when it is wrong, and opens", async () => {
    const guarded = await startStudio({ apiKey: "open sesame" });
    const page = await pages.browser().newPage();
    await page.goto(guarded.url);
    const field = page.getByLabel("This server asks for its API key.");
    await field.fill("wrong");
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByText("That was not the key.").waitFor();
    await field.fill("open sesame");
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByRole("heading", { name: "Sampling" }).waitFor();
    await page.getByLabel("Your message").fill("Hi");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.getByRole("option").count()).toBeGreaterThan(2);
    await page.close();
    await guarded.close();
  });
});
