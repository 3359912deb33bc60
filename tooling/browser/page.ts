import { join } from "node:path";
import type { Page } from "playwright-core";
import { createServer } from "vite";
import { sourceAlias } from "../vitest/source-alias.ts";
import { launchChromium } from "./chromium.ts";

const root = join(import.meta.dirname, "../..");

export interface BrowserPage {
  readonly page: Page;
  /** Errors that the page threw or logged since it opened. */
  readonly errors: readonly string[];
  /** Closes page, browser and server; `await using` does it too. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens an empty page in Chromium in which `import("@heddle/tensor")`, or any source file by its path from the
 * root, works: `await page.evaluate(async () => { const { ones } = await window.load("@heddle/tensor"); ... })`.
 *
 * @param options.isIsolated  cross-origin isolated, so that it has SharedArrayBuffer and threads; default true
 * @param options.hasWebGpu   with Chromium's software adapter for WebGPU; default false
 */
export async function openSourcePage({
  isIsolated = true,
  hasWebGpu = false,
}: {
  isIsolated?: boolean;
  hasWebGpu?: boolean;
} = {}): Promise<BrowserPage> {
  const headers = isIsolated ? isolation : {};
  const server = await createServer({
    root,
    configFile: false,
    logLevel: "error",
    appType: "custom",
    plugins: [sourceAlias()],
    oxc: { target: "es2022" },
    optimizeDeps: { noDiscovery: true },
    server: { port: 0, host: "127.0.0.1", hmr: false, watch: null, headers },
  });
  server.middlewares.use("/blank.html", (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/html", ...headers }).end(blankPage);
  });
  await server.listen();
  const browser = await launchChromium({ args: hasWebGpu ? softwareAdapter : [] });
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const address = server.resolvedUrls?.local[0] ?? "";
  await page.goto(`${address}blank.html`);
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { page, errors, [Symbol.asyncDispose]: close };
}

const softwareAdapter = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Holds only `load(specifier)`: an import that the server resolves as a test in Node would. */
const blankPage = `<!doctype html><title>test</title><link rel="icon" href="data:,"><script type="module">
window.load = (specifier) => import(specifier.startsWith("@heddle/") ? "/@id/" + specifier : "/" + specifier);
</script>`;

declare global {
  interface Window {
    /** Imports a package, or a source file by its path from the root, in a page of `openSourcePage`. */
    // biome-ignore lint/suspicious/noExplicitAny: a module of any shape
    load(specifier: string): Promise<any>;
  }
}
