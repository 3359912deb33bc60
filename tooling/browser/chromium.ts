import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** Where systems keep Chromium or Chrome; CHROMIUM_PATH comes first. */
const candidates = [
  process.env.CHROMIUM_PATH,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** Starts the Chromium of this machine, headless and quiet on the network; the caller closes it. */
export async function launchChromium({ args = [] }: { args?: readonly string[] } = {}): Promise<Browser> {
  const executablePath = candidates.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined)
    throw new Error("launchChromium: Chromium must be installed; got none. Install it or set CHROMIUM_PATH.");
  return chromium.launch({ executablePath, args: [...quiet, ...args] });
}

const quiet = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
