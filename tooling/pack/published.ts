import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { resultsFolder, root } from "../checks/command.ts";

/** A package or app that goes to the registry. */
export interface PublishedPackage {
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
  /** The absolute path of its tarball, once packed. */
  readonly tarball: string;
  /** Every import path that it offers, such as `@heddle/serve` and `@heddle/serve/http`; none for a program. */
  readonly doors: readonly string[];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly exports?: Record<string, unknown>;
}

/** Where `pnpm pack` puts the tarballs. */
export const tarballFolder = join(resultsFolder, "tarballs");

/** Every package that is not private, in order of its folder. */
export function publishedPackages(): PublishedPackage[] {
  const paths = globSync("{packages,apps}/*/package.json", { cwd: root }).sort();
  return paths.flatMap((path) => {
    const manifest: Manifest = JSON.parse(readFileSync(join(root, path), "utf8"));
    if (manifest.private) return [];
    const { name, version, exports = {} } = manifest;
    const doors = Object.keys(exports).filter((door) => !door.endsWith(".json") && !door.includes("*"));
    return {
      name,
      folder: join(root, dirname(path)),
      tarball: join(tarballFolder, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`),
      doors: doors.map((door) => name + door.slice(1)),
    };
  });
}
