import { join, resolve } from "node:path";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { sourceAlias } from "./source-alias.ts";

const root = join(import.meta.dirname, "../..");
const special = ["**/*.data.test.ts", "**/*.browser.test.ts", "**/*.gpu.test.ts"];

/**
 * The four suites: `unit` needs only this repository; `data` reads real models and texts from the folder
 * HEDDLE_DATA (default `../shared/data`) and golden models from HEDDLE_GOLDENS (default `../shared/goldens`); `browser`
 * drives Chromium; `gpu` needs an adapter, and runs two files at a time: most of its time is one thread that compiles shaders.
 * `data` and `browser` run one file at a time.
 */
export function suite(name: "unit" | "data" | "browser" | "gpu"): ViteUserConfig {
  const isUnit = name === "unit";
  const timeoutMs = isUnit ? 30_000 : 600_000;
  return defineConfig({
    root,
    plugins: [sourceAlias()],
    oxc: { target: "es2022" },
    test: {
      include: [`{packages,apps,tooling}/**/*.${isUnit ? "test.{ts,tsx}" : `${name}.test.ts`}`],
      exclude: ["**/node_modules/**", "**/dist/**", ...(isUnit ? special : [])],
      env: {
        HEDDLE_DATA: resolve(root, process.env.HEDDLE_DATA ?? "../shared/data"),
        HEDDLE_GOLDENS: resolve(root, process.env.HEDDLE_GOLDENS ?? "../shared/goldens"),
      },
      fileParallelism: isUnit || name === "gpu",
      ...(name === "gpu" ? { maxWorkers: 2 } : {}),
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
    },
  });
}
