import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { childEnvironment, runToEnd } from "./run.mjs";

/** A server that drains for a moment when it is told to end. */
const server = `process.on("SIGTERM", () => setTimeout(() => { console.log("drained"); process.exit(7); }, 50));
setInterval(() => {}, 1000);
console.log("listening", process.pid);`;

const bootstrap = `const { runToEnd } = await import(${JSON.stringify(join(import.meta.dirname, "run.mjs"))});
process.exit(await runToEnd(process.execPath, ["--eval", ${JSON.stringify(server)}]));`;

/** Collects what a process and its children print until `text` came. */
async function printed(child: ChildProcess, text: string, seen: string[]): Promise<void> {
  while (!seen.join("").includes(text)) {
    const [chunk] = await once(child.stdout ?? child, "data");
    seen.push(String(chunk));
  }
}

describe("runToEnd", () => {
  test("resolves to the exit code of what it ran", async () => {
    expect(await runToEnd(process.execPath, ["--eval", "process.exit(3)"])).toBe(3);
  });

  test("a program that a signal ended has 128 and the signal's number, as in a shell", async () => {
    expect(await runToEnd(process.execPath, ["--eval", "process.kill(process.pid, 'SIGKILL')"])).toBe(137);
  });

  test("passes SIGTERM on, waits for the drain and gives its exit code", async () => {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", bootstrap]);
    const seen: string[] = [];
    await printed(child, "listening", seen);
    child.kill("SIGTERM");
    const [code] = await once(child, "exit");
    expect(code).toBe(7);
  });

  test("ends what it ran when its parent is gone", async () => {
    const shell = spawn("sh", [
      "-c",
      `"$0" --input-type=module --eval "$1"; true`,
      process.execPath,
      bootstrap,
    ]);
    const seen: string[] = [];
    await printed(shell, "listening", seen);
    shell.kill("SIGKILL");
    await printed(shell, "drained", seen);
  });
});

describe("childEnvironment", () => {
  afterEach(() => vi.unstubAllEnvs());

  test("drops what npm says about itself, keeps the user's settings, and puts our programs first", () => {
    vi.stubEnv("npm_config_omit", "dev");
    vi.stubEnv("npm_lifecycle_event", "test");
    vi.stubEnv("npm_config_registry", "https://npm.example");
    const env = childEnvironment({ NODE_ENV: "development" });
    expect(env).not.toHaveProperty("npm_config_omit");
    expect(env).not.toHaveProperty("npm_lifecycle_event");
    expect(env).toMatchObject({ npm_config_registry: "https://npm.example", NODE_ENV: "development" });
    expect(env.PATH).toMatch(/^\S+node_modules\/\.bin[:;]/);
  });
});
