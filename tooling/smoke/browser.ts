import { createReadStream, globSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "vite";
import { launchChromium } from "../browser/chromium.ts";
import type { Check } from "../checks/run-checks.ts";
import type { SmokeProject } from "./project.ts";

/** The main door of every package, bundled by Vite, runs in a page. */
export function browserChecks({ folder, packages, write }: SmokeProject): Check[] {
  const names = packages.filter(({ doors }) => doors.length > 0).map(({ name }) => name);
  const imports = names.map((name, index) => `import * as door${index} from "${name}";`);
  const record = names.map((name, index) => `"${name}": Object.keys(door${index}).length`);
  write("page.js", `${imports.join("\n")}\nglobalThis.loaded = { ${record.join(", ")} };\n`);
  write(
    "index.html",
    `<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>`,
  );
  return [
    {
      name: "Vite bundles every package for the browser",
      run: () => build({ root: folder, configFile: false, logLevel: "error" }),
    },
    { name: "the bundle runs in Chromium", run: () => runBundle(join(folder, "dist"), names) },
  ];
}

async function runBundle(dist: string, names: readonly string[]): Promise<void> {
  const server = createServer((request, response) => {
    const path = request.url === "/" ? "/index.html" : (request.url ?? "");
    response.setHeader("Content-Type", path.endsWith(".html") ? "text/html" : "text/javascript");
    if (globSync(`.${path}`, { cwd: dist }).length === 0) response.writeHead(404).end();
    else createReadStream(join(dist, path)).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const loaded = await page.evaluate(() => (globalThis as { loaded?: Record<string, number> }).loaded);
    const empty = names.filter((name) => !loaded?.[name]);
    if (errors.length > 0 || empty.length > 0)
      throw new Error(`did not load: ${empty.join(", ")}; errors: ${errors.join("; ")}`);
  } finally {
    await browser.close();
    server.close();
  }
}

/** How many bytes of JavaScript the bundle of all packages has. */
export function bundleBytes(folder: string): number {
  return globSync("dist/assets/*.js", { cwd: folder }).reduce(
    (sum, file) => sum + readFileSync(join(folder, file)).length,
    0,
  );
}
