import type { AppOptions } from "@heddle/serve/http";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { launchChromium } from "../../../tooling/browser/chromium.js";
import { type StudioServer, startStudio } from "./studio-server.js";

/** Pages of a studio in Chromium, for the tests of one file. */
export interface StudioPages {
  /** The server behind the pages; there once the tests run. */
  readonly studio: () => StudioServer;
  readonly browser: () => Browser;
  /** Opens the page in a window of its own, at a place such as "lens". */
  open(options?: BrowserContextOptions & { readonly place?: string }): Promise<Page>;
  /** Leaves out an error of the page opened last, which the test has caused: the browser logs refusals itself. */
  forgiveError(): void;
}

/**
 * Starts a studio and Chromium before the tests of the calling file and closes them after; after each test every page must have
 * logged no error and is closed, and the engine must come to rest.
 */
export function useStudioPages(
  options: Partial<AppOptions> = {},
  {
    addFiles,
    args = [],
  }: { readonly addFiles?: (folder: string) => void; readonly args?: readonly string[] } = {},
): StudioPages {
  let started: { readonly studio: StudioServer; readonly browser: Browser } | undefined;
  const running = () => {
    if (started === undefined) throw new Error("useStudioPages: the studio runs only while tests do");
    return started;
  };
  const opened: { readonly page: Page; readonly errors: string[] }[] = [];
  beforeAll(async () => {
    started = { studio: await startStudio(options, addFiles), browser: await launchChromium({ args }) };
  });
  afterAll(async () => {
    await started?.browser.close();
    await started?.studio.close();
  });
  afterEach(async () => {
    for (const { page, errors } of opened.splice(0)) {
      expect(errors).toEqual([]);
      await page.context().close();
    }
    // Whatever a page had asked for ends with it.
    await expect.poll(() => running().studio.engine.stats().running, { timeout: 5000 }).toBe(0);
  });
  return {
    studio: () => running().studio,
    browser: () => running().browser,
    forgiveError: () => void opened.at(-1)?.errors.splice(0, 1),
    async open({ place, ...context } = {}) {
      const page = await (await running().browser.newContext(context)).newPage();
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(error.message));
      page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
      opened.push({ page, errors });
      await page.goto(place === undefined ? running().studio.url : `${running().studio.url}/#${place}`);
      return page;
    },
  };
}
