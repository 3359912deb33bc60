import { existsSync, readFileSync } from "node:fs";
import type { Counts } from "./counts.ts";

/** What vitest's JSON reporter writes, as far as we read it. */
export interface SuiteReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly FileReport[];
}

export interface FileReport {
  /** Absolute path of the test file. */
  readonly name: string;
  readonly status: string;
  readonly assertionResults: readonly TestReport[];
}

export interface TestReport {
  readonly status: string;
  readonly fullName: string;
  /** What the options of a test say for reports. */
  readonly meta?: {
    /** What a family of models can do if the test passes. */
    readonly shows?: { readonly family: string; readonly abilities: readonly string[] };
  };
}

/** Reads a report; undefined where vitest wrote none, which means that it did not get to run. */
export function readReport(path: string): SuiteReport | undefined {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

/** Counts the tests of a suite; a file that failed before its first test counts as one failure. */
export function suiteCounts(report: SuiteReport): Counts {
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((result) => result.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
