// Installs the packed tarballs into a fresh project and uses them as users do. Run tooling/pack first.
import { rmSync } from "node:fs";
import { runChecks } from "../checks/run-checks.ts";
import { browserChecks, bundleBytes } from "./browser.ts";
import { loadChecks, programChecks } from "./load.ts";
import { notebookChecks } from "./notebook.ts";
import { createSmokeProject } from "./project.ts";
import { readmeChecks } from "./readme.ts";
import { typeChecks } from "./types.ts";

const project = await createSmokeProject();
try {
  await runChecks([
    ...loadChecks(project),
    ...programChecks(project),
    ...typeChecks(project),
    ...browserChecks(project),
    ...notebookChecks(project),
    ...readmeChecks(project),
  ]);
  console.log(
    `All packages in one browser bundle: ${(bundleBytes(project.folder) / 1024).toFixed(0)} KiB, minified.`,
  );
} finally {
  rmSync(project.folder, { recursive: true, force: true });
}
