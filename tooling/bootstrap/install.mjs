import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { childEnvironment, root, runToEnd } from "./run.mjs";

const stamp = join(root, "node_modules", ".heddle-install");

/** Installs the dependencies that the lockfile names, unless that was done; resolves to an exit code. */
export async function installIfStale() {
  const wanted = manifestHash();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return 0;
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  console.log(`Installing dependencies with ${packageManager} (first run, or the lockfile changed).`);
  const code = await runToEnd("npx", ["--yes", packageManager, "install", "--frozen-lockfile"], {
    env: childEnvironment({ CI: "true", NODE_ENV: "development" }), // CI: ask nothing
    shell: process.platform === "win32", // npx is a .cmd file there
  });
  if (code === 0) writeFileSync(stamp, wanted);
  return code;
}

/** Hashes everything that decides what gets installed: the lockfile and every package.json. */
function manifestHash() {
  const folders = ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(root, parent))
      .sort()
      .map((name) => join(parent, name)),
  );
  const files = ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"];
  files.push(...folders.map((folder) => join(folder, "package.json")));
  const hash = createHash("sha256").update(`${process.platform} ${process.arch} ${root}`);
  for (const file of files) {
    const path = join(root, file);
    if (existsSync(path)) hash.update(`\n${file}\n`).update(readFileSync(path));
  }
  return hash.digest("hex");
}
