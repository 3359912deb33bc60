import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const tokenizers = fileURLToPath(new URL("../../packages/tokenizers/src/index.ts", import.meta.url));

export default defineConfig({
  base: "./",
  // Its sources, so that the page builds before the packages do.
  resolve: { alias: [{ find: /^@heddle\/tokenizers$/, replacement: tokenizers }] },
  build: { outDir: "dist", target: "es2022" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
