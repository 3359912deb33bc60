import { appBuild } from "../../tooling/tsup/app-build.ts";

export default appBuild({ entry: { main: "src/main.ts" } });
