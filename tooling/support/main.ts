// Writes SUPPORT.md from the reports that the last `.ci/run` left; with --check, finds claims that no longer hold.
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { resultsFolder, root } from "../checks/command.ts";
import { readReport } from "../checks/suite-report.ts";
import { familyTable } from "./families.ts";
import { gapOf, staleLines, supportTable } from "./table.ts";

const suites = ["unit", "gpu", "data", "browser"];
const path = join(root, "SUPPORT.md");

const reports = suites.map((suite) => {
  const report = readReport(join(resultsFolder, `${suite}.json`));
  if (report === undefined)
    throw new Error(`support: every suite must have run; got no ${suite} report. Run .ci/run.`);
  return report;
});
const gaps = new Map(
  globSync("{packages,apps}/*/README.md", { cwd: root }).flatMap((file): [string, string][] => {
    const gap = gapOf(readFileSync(join(root, file), "utf8"));
    return gap === undefined ? [] : [[basename(dirname(file)), gap]];
  }),
);
const fresh = `${supportTable(reports, root, gaps)}${familyTable(reports)}`;
const stored = readFileSync(path, "utf8");

if (process.argv.includes("--check")) {
  const stale = staleLines(stored, fresh);
  for (const line of stale) console.error(`SUPPORT.md claims, and no test bears out: ${line}`);
  if (stale.length > 0) process.exitCode = 1;
  else if (stored !== fresh) console.log("SUPPORT.md can be renewed: npm run support");
} else {
  writeFileSync(path, fresh);
}
