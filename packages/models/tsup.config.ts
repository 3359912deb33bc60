import { packageBuild } from "../../tooling/tsup/package-build.ts";

export default { ...packageBuild({ doors: ["node"] }), external: [/^node:/] };
