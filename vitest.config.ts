import { defineConfig } from "vitest/config";
import { sourceAlias } from "./tooling/vitest/source-alias.ts";

const needsDataOrBrowser = ["**/*.data.test.ts", "**/*.browser.test.ts"];

export default defineConfig({
  plugins: [sourceAlias()],
  oxc: { target: "es2022" },
  test: {
    include: ["{packages,apps,tooling}/**/*.test.{ts,tsx}"],
    exclude: ["**/node_modules/**", "**/dist/**", ...needsDataOrBrowser],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
