import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readSource, type SourceFile } from "./source-file.ts";

/** One package or app: what its manifest says and what its sources do. */
export interface WorkspacePackage {
  readonly name: string;
  /** From the root, e.g. `packages/tensor`. */
  readonly folder: string;
  readonly layer: number | undefined;
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
  /** What may be missing: only a door of its own may import it. */
  readonly optionalPeers: readonly string[];
  /** Folders of `src` that are doors: "http" for "./http". */
  readonly doors: readonly string[];
  readonly files: readonly SourceFile[];
}

interface Manifest {
  readonly name: string;
  readonly heddle?: { readonly layer?: number };
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>;
  readonly optionalDependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly exports?: Record<string, unknown>;
}

/** Reads every package and app under `root`; their TypeScript outside `dist` is parsed. */
export function readWorkspace(root: string): WorkspacePackage[] {
  const manifests = globSync("{packages,apps}/*/package.json", { cwd: root }).sort();
  return manifests.map((path) => readPackage(root, path.replace(/\/package\.json$/, "")));
}

function readPackage(root: string, folder: string): WorkspacePackage {
  const manifest: Manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
  const { dependencies, peerDependencies, optionalDependencies, devDependencies, peerDependenciesMeta } =
    manifest;
  // Outside a door of its own an optional peer is loaded by a name in a variable, so that bundlers do not look for it.
  const isOptional = (peer: string): boolean => peerDependenciesMeta?.[peer]?.optional === true;
  const allPeers = Object.keys(peerDependencies ?? {});
  const peers = allPeers.filter((peer) => !isOptional(peer));
  const paths = globSync(`${folder}/**/*.{ts,tsx}`, {
    cwd: root,
    exclude: (name) => name === "node_modules" || name === "dist",
  });
  return {
    name: manifest.name,
    folder,
    layer: manifest.heddle?.layer,
    dependencies: [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers],
    devDependencies: Object.keys(devDependencies ?? {}),
    optionalPeers: allPeers.filter(isOptional),
    doors: Object.keys(manifest.exports ?? {}).flatMap((door) => /^\.\/([a-z-]+)$/.exec(door)?.[1] ?? []),
    files: paths.sort().map((path) => readSource(path, readFileSync(join(root, path), "utf8"))),
  };
}
