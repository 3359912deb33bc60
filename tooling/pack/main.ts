// Packs every published package and checks the tarballs: their files, publint, are-the-types-wrong, sizes of bundles.
import { mkdirSync, rmSync } from "node:fs";
import { mustRun } from "../checks/command.ts";
import { type Check, runChecks } from "../checks/run-checks.ts";
import { bundleBytes, bundleLimits } from "./bundle-size.ts";
import { type PublishedPackage, publishedPackages, tarballFolder } from "./published.ts";

rmSync(tarballFolder, { recursive: true, force: true });
mkdirSync(tarballFolder, { recursive: true });

await runChecks(publishedPackages().flatMap(checksOf));

function checksOf({ name, folder, tarball, doors }: PublishedPackage): Check[] {
  const packed: Check[] = [
    {
      name: `${name}: packs`,
      run: () => mustRun("pnpm", ["pack", "--pack-destination", tarballFolder], { cwd: folder }),
    },
    { name: `${name}: holds what it should`, run: () => checkFiles(tarball) },
    { name: `${name}: publint`, run: () => mustRun("publint", ["run", tarball, "--strict"]) },
  ];
  if (doors.length === 0) return packed;
  return [
    ...packed,
    { name: `${name}: types resolve`, run: () => mustRun("attw", [tarball, "--format", "ascii"]) },
    ...bundleLimits(folder).map((limit) => ({
      name: `${name}: ${limit.name} from ${limit.door} takes at most ${limit.limit / 1000} kB, minified and gzipped`,
      async run() {
        const bytes = await bundleBytes(folder, limit);
        console.log(`      ${bytes} bytes`);
        if (bytes > limit.limit) throw new Error(`${bytes} bytes; find what came in, or raise bundleLimits`);
      },
    })),
  ];
}

/** A tarball has a licence, a README and built files, and no sources or tests. */
async function checkFiles(tarball: string): Promise<void> {
  const files = (await mustRun("tar", ["-tzf", tarball])).trim().split("\n");
  const missing = ["LICENSE", "README.md", "package.json"].filter(
    (file) => !files.includes(`package/${file}`),
  );
  if (missing.length > 0) throw new Error(`missing ${missing.join(", ")}`);
  if (!files.some((file) => file.startsWith("package/dist/"))) throw new Error("no built files");
  const stray = files.filter((file) => /^package\/(src|test|bench)\/|\.test\.|tsbuildinfo/.test(file));
  if (stray.length > 0) throw new Error(`not to be published: ${stray.join(", ")}`);
}
