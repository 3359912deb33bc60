import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What `lib.esnext.disposable` declares, for readers whose TypeScript or `lib` has no such file. Merging it
 * with that file, or with the same lines of @types/node, changes nothing.
 */
const disposable = `interface SymbolConstructor {
  readonly dispose: unique symbol;
  readonly asyncDispose: unique symbol;
}
interface Disposable {
  [Symbol.dispose](): void;
}
interface AsyncDisposable {
  [Symbol.asyncDispose](): PromiseLike<void>;
}
`;

/**
 * Writes a package's declarations into `dist`: `.d.ts` by TypeScript, made readable for TypeScript 5.0, and
 * a `.d.cts` twin of each for those who `require` the package.
 */
export function emitDeclarations(folder: string): void {
  const tsc = join(import.meta.dirname, "../../node_modules/.bin/tsc");
  execFileSync(tsc, ["--project", "tsconfig.build.json"], { cwd: folder, stdio: "inherit" });
  const dist = join(folder, "dist");
  const files = globSync("**/*.d.ts", { cwd: dist }).map((file) => join(dist, file));
  const texts = files.map((file) => ({ file, text: forOlderReaders(readFileSync(file, "utf8")) }));
  const usesDisposal = texts.some(({ text }) =>
    /\bSymbol\.(async)?[dD]ispose\b|\b(Async)?Disposable\b/.test(text),
  );
  for (const { file, text } of texts) {
    const isDoor = existsSync(file.replace(/\.d\.ts$/, ".js"));
    const depth = file.slice(dist.length + 1).split("/").length - 1;
    const reference = `/// <reference path="${"../".repeat(depth) || "./"}disposable.d.ts" />\n`;
    const complete = (usesDisposal && isDoor ? reference : "") + text;
    writeFileSync(file, complete);
    writeFileSync(file.replace(/\.ts$/, ".cts"), forRequire(complete, file));
  }
  if (usesDisposal) writeFileSync(join(dist, "disposable.d.ts"), disposable);
}

/** Drops the buffer argument of typed arrays (`Uint8Array<ArrayBuffer>`), which TypeScript before 5.7 rejects. */
function forOlderReaders(text: string): string {
  return text.replace(/\b((?:\w+?\d+(?:Clamped)?Array)|DataView)<ArrayBuffer(?:Like)?>/g, "$1");
}

/** Points the relative imports of a declaration at their `.cjs` twins. */
function forRequire(text: string, file: string): string {
  return text.replace(/((?:from|import) ?\(?")(\.{1,2}\/[^"]+)"/g, (_match, lead: string, path: string) => {
    if (!path.endsWith(".js"))
      throw new Error(`declarations: relative imports end in .js; got ${path} in ${file}.`);
    return `${lead}${path.slice(0, -3)}.cjs"`;
  });
}
