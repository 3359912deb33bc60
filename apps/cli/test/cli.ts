import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { sourceAlias } from "../../../tooling/vitest/source-alias.js";

const root = fileURLToPath(new URL("..", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

/** The program, built from the sources into one file, to run as a child process. */
export interface Cli {
  /** Runs a command to its end. */
  run(args: readonly string[], input?: string): Promise<Finished>;
  /** Starts a command that goes on until it is told to end. */
  start(args: readonly string[]): { readonly child: ChildProcess; readonly finished: Promise<Finished> };
  dispose(): void;
}

/** Bundles `src/main.ts` with everything that it imports. */
export async function buildCli(): Promise<Cli> {
  const folder = join(root, "node_modules", `.heddle-test-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "version": "0.0.0-test", "type": "module" }');
  await build({
    root,
    configFile: false,
    logLevel: "error",
    plugins: [sourceAlias()],
    oxc: { target: "es2022" },
    ssr: { noExternal: true },
    build: { ssr: "src/main.ts", outDir: join(folder, "dist"), minify: false, target: "node22" },
  });
  const start: Cli["start"] = (args) => {
    const child = spawn(process.execPath, [join(folder, "dist", "main.js"), ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    const seen = { out: "", errors: "" };
    child.stdout.on("data", (data) => {
      seen.out += data;
    });
    child.stderr.on("data", (data) => {
      seen.errors += data;
    });
    const finished = new Promise<Finished>((resolve) =>
      child.once("close", (code) => resolve({ code, ...seen })),
    );
    return { child, finished };
  };
  return {
    start,
    run: (args, input = "") => {
      const { child, finished } = start(args);
      // A command that does not read may close its input before all is written.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
      return finished;
    },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}
