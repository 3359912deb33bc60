import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mustRun } from "../checks/command.ts";
import { type PublishedPackage, publishedPackages } from "../pack/published.ts";

/** A project outside the repository that installed the packed tarballs, as a user would. */
export interface SmokeProject {
  readonly folder: string;
  readonly packages: readonly PublishedPackage[];
  /** Every import path of every package. */
  readonly doors: readonly string[];
  /** Writes a file into the project and returns its path. */
  write(name: string, text: string): string;
}

/** What the checks need beside the packages; each is a version that users really have. */
const tools = ["typescript-5.0@npm:typescript@5.0", "@types/node@24", "tslab@1.0.22"];

/** Creates the project and installs every tarball into it; Node 22 goes into a folder of its own. */
export async function createSmokeProject(): Promise<SmokeProject> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-smoke-"));
  const packages = publishedPackages();
  const write = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  write("package.json", JSON.stringify({ name: "smoke", private: true, type: "module" }));
  const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
  await mustRun("npm", ["install", ...quiet, ...packages.map(({ tarball }) => tarball), ...tools], {
    cwd: folder,
  });
  await mustRun("npm", ["install", ...quiet, "--prefix", join(folder, "node22"), "node@22"], { cwd: folder });
  return { folder, packages, doors: packages.flatMap(({ doors }) => doors), write };
}
