// Runs a program beside this file on this machine, with the Node and the Dawn that are installed here:
// `node tooling/bench/gpu/run.ts NAME [ARGUMENTS]`. Programs are bundled first, since sources name each other as packages.
import { spawnSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bundle } from "./parts/bundle.ts";

const [name, ...words] = process.argv.slice(2);
if (name === undefined) throw new Error("run: give the name of a program beside this file; got none.");
const folder = mkdtempSync(join(tmpdir(), "heddle-gpu-"));
try {
  await bundle(join(import.meta.dirname, `${name}.ts`), folder);
  const installed = createRequire(join(import.meta.dirname, "../../../packages/gpu/package.json"));
  const modules = dirname(dirname(realpathSync(installed.resolve("webgpu"))));
  symlinkSync(modules, join(folder, "node_modules"));
  const flags = (process.env.HEDDLE_NODE_FLAGS ?? "").split(" ").filter((flag) => flag !== "");
  const { status } = spawnSync(process.execPath, [...flags, join(folder, `${name}.mjs`), ...words], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
