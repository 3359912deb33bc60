import { packageBuild } from "../../tooling/tsup/package-build.js";

export default packageBuild();
