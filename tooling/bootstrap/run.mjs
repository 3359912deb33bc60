import { spawn } from "node:child_process";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/**
 * Runs a program from the root with its output shown here and resolves to its exit code. SIGTERM, SIGHUP
 * and SIGINT reach it, so that a server can drain; from a terminal, Ctrl-C has reached it already.
 */
export function runToEnd(file, args, { env = childEnvironment(), shell = false } = {}) {
  const child = spawn(file, args, { cwd: root, env, shell, stdio: "inherit" });
  let wasSignalled = false;
  const forward = (signal) => {
    wasSignalled = true;
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  const watch = onOrphaned(() => wasSignalled || forward("SIGTERM"));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearInterval(watch);
      for (const name of signals) process.off(name, forward);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/**
 * Calls back once when this process's parent is gone. npm passes a signal on to the shell that it started us
 * with; that shell ends without telling us.
 */
function onOrphaned(callback) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    callback();
  }, 200);
  return watch;
}

/** What npm tells its scripts about itself, which would mislead the tools that we start. */
const npmNoise =
  /^npm_(package_|lifecycle_|command$|execpath$|node_execpath$|config_(local_prefix|prefix|global_prefix|user_agent|omit|include|production|only|dry_run|json|workspace|workspaces|global|yes)$)/i;

/**
 * This process's environment, cleaned, with the repository's programs (Node 24 first) on the path.
 * @returns {Record<string, string | undefined>}
 */
export function childEnvironment(extra = {}) {
  const entries = Object.entries(process.env).filter(([key]) => !npmNoise.test(key));
  const env = { ...Object.fromEntries(entries), TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", ...extra };
  const pathKey = Object.keys(env).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
  env[pathKey] = [join(root, "node_modules", ".bin"), env[pathKey]].join(delimiter);
  return env;
}
