// `npm start` and `npm test` on a machine that has only Node >= 20 and npm: install when needed, then
// run the real program under the Node 24 that the install brought. No dependency, by design.
import { join } from "node:path";
import { installIfStale } from "./install.mjs";
import { root, runToEnd } from "./run.mjs";

const node24 = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
const tool = (...path) => join(root, "node_modules", ...path);

const commands = {
  /** Installs and does nothing more, for continuous integration. */
  install: () => 0,
  /** Builds what changed and serves the embedded model; arguments go to `heddle serve`. */
  async start(args) {
    const built = await runToEnd(node24, [
      tool("turbo", "bin", "turbo"),
      "run",
      "build",
      "--output-logs=errors-only",
    ]);
    if (built !== 0) return built;
    return runToEnd(node24, [join(root, "apps", "cli", "dist", "main.js"), "serve", ...args]);
  },
  /** Runs every test that needs nothing outside this repository; arguments go to vitest. */
  test(args) {
    return runToEnd(node24, [tool("vitest", "vitest.mjs"), "run", ...args]);
  },
};

const [name = "", ...args] = process.argv.slice(2);
const command = commands[name];
if (command === undefined) {
  console.error(`bootstrap: the command must be one of ${Object.keys(commands).join(", ")}; got "${name}".`);
  process.exit(2);
}
const installed = await installIfStale();
process.exit(installed === 0 ? await command(args) : installed);
