import { closingLine } from "./counts.ts";

/** One thing that must hold: `run` throws, or rejects, if it does not. */
export interface Check {
  readonly name: string;
  run(): unknown;
}

/** Runs checks in order, prints a line for each and the closing line, and sets the process's exit code. */
export async function runChecks(checks: readonly Check[]): Promise<void> {
  let failed = 0;
  for (const { name, run } of checks) {
    const start = performance.now();
    try {
      await run();
      console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n${indent(error instanceof Error ? error.message : String(error))}`);
    }
  }
  console.log(closingLine({ passed: checks.length - failed, failed, skipped: 0 }));
  process.exitCode = failed === 0 ? 0 : 1;
}

function indent(text: string): string {
  return text.replace(/^/gm, "      ");
}
