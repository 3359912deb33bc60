import { cpSync, existsSync } from "node:fs";
import { appBuild } from "../../tooling/tsup/app-build.ts";

export default {
  ...appBuild({ entry: { main: "src/main.ts" } }),
  // The studio is built before this program and travels with it.
  onSuccess: async () => {
    const page = "../studio/dist";
    if (existsSync(page)) cpSync(page, "dist/page", { recursive: true });
  },
};
