// Everything that must hold before a change lands, in one run. The closing line counts all that ran.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { command, resultsFolder, root } from "../checks/command.ts";
import { type Counts, closingLine, parseClosingLine, sumCounts } from "../checks/counts.ts";
import { readReport, suiteCounts } from "../checks/suite-report.ts";

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Where vitest leaves its JSON report, for a step that runs a suite. */
  readonly report?: string;
}

const reportOf = (suite: string) => join(resultsFolder, `${suite}.json`);
const reporters = (suite: string) => [
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${reportOf(suite)}`,
];
const vitest = (suite: "data" | "browser" | "gpu"): Step => ({
  name: `${suite} tests`,
  command: ["vitest", "run", "--config", `tooling/vitest/${suite}.config.ts`, ...reporters(suite)],
  report: reportOf(suite),
});

const steps: readonly Step[] = [
  { name: "unit tests", command: ["npm", "test", "--", ...reporters("unit")], report: reportOf("unit") },
  { name: "type check", command: ["npm", "run", "typecheck"] },
  { name: "lint", command: ["npm", "run", "lint"] },
  { name: "layers", command: ["npm", "run", "check:layers"] },
  { name: "build", command: ["npm", "run", "build", "--", "--output-logs=new-only"] },
  { name: "tarballs", command: ["node", "tooling/pack/main.ts"] },
  { name: "smoke project", command: ["node", "tooling/smoke/main.ts"] },
  vitest("gpu"),
  vitest("browser"),
  vitest("data"),
  { name: "support table", command: ["node", "tooling/support/main.ts", "--check"] },
];

rmSync(resultsFolder, { recursive: true, force: true });
mkdirSync(resultsFolder, { recursive: true });

const results: { name: string; counts: Counts; seconds: number }[] = [];
for (const step of steps) {
  console.log(`\n=== ${step.name}: ${step.command.join(" ").replaceAll(`${root}/`, "")}`);
  const start = performance.now();
  const counts = await runStep(step);
  results.push({ name: step.name, counts, seconds: (performance.now() - start) / 1000 });
}

console.log("\n=== summary");
for (const { name, counts, seconds } of results)
  console.log(
    `${counts.failed === 0 ? "ok   " : "FAIL "} ${name}: ${closingLine(counts)} (${seconds.toFixed(0)} s)`,
  );
const total = sumCounts(results.map(({ counts }) => counts));
console.log(closingLine(total));
process.exitCode = total.failed === 0 ? 0 : 1;

/** Runs a step and counts what ran: a suite's tests, a tool's own closing line, or the step itself as one. */
async function runStep({ command: [file, ...args], report }: Step): Promise<Counts> {
  const { exitCode, output } = await command(file, args, { isShown: true });
  const suite = report === undefined ? undefined : readReport(report);
  const counted = suite === undefined ? parseClosingLine(output) : suiteCounts(suite);
  const counts = counted ?? { passed: exitCode === 0 ? 1 : 0, failed: 0, skipped: 0 };
  return exitCode !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}
