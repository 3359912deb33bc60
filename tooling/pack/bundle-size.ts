import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";

/** What may be imported from a door, and how many bytes that may cost a page, minified and gzipped. */
export interface BundleLimit {
  /** Such as "./bpe". */
  readonly door: string;
  /** Such as "loadTokenizer"; "*" for all of the door. */
  readonly name: string;
  readonly limit: number;
}

/** The limits in a package's manifest: `"heddle": {"bundleLimits": {"./door": {"name": bytes}}}`. */
export function bundleLimits(folder: string): BundleLimit[] {
  const manifest: { heddle?: { bundleLimits?: Record<string, Record<string, number>> } } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  );
  return Object.entries(manifest.heddle?.bundleLimits ?? {}).flatMap(([door, names]) =>
    Object.entries(names).map(([name, limit]) => ({ door, name, limit })),
  );
}

/** Bundles an import from the built package as an application does. @returns bytes of the minified, gzipped code */
export async function bundleBytes(folder: string, { door, name }: BundleLimit): Promise<number> {
  const at = mkdtempSync(join(tmpdir(), "heddle-bundle-"));
  try {
    const built = join(folder, "dist", door === "." ? "index.js" : `${door}/index.js`);
    const entry = join(at, "entry.js");
    const names = name === "*" ? "*" : `{ ${name} }`;
    writeFileSync(entry, `export ${names} from ${JSON.stringify(built)};\n`);
    const output = await build({
      configFile: false,
      root: at,
      logLevel: "error",
      build: {
        write: false,
        minify: true,
        target: "es2022",
        rollupOptions: { input: entry, preserveEntrySignatures: "strict", output: { format: "es" } },
      },
    });
    const [chunk] = "output" in output ? output.output : [];
    if (chunk === undefined) throw new Error(`vite bundled nothing for ${door} ${name}`);
    return gzipSync(chunk.code, { level: 9 }).length;
  } finally {
    rmSync(at, { recursive: true });
  }
}
