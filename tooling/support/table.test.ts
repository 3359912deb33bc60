import { expect, test } from "vitest";
import type { SuiteReport } from "../checks/suite-report.ts";
import { gapOf, staleLines, supportTable } from "./table.ts";

function report(files: Record<string, string[]>): SuiteReport {
  const testResults = Object.entries(files).map(([name, statuses]) => ({
    name: `/repo/${name}`,
    status: "passed",
    assertionResults: statuses.map((status) => ({ status, fullName: "" })),
  }));
  return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults };
}

const reports = [
  report({
    "packages/attention/src/masks.test.ts": ["passed", "passed", "pending"],
    "packages/attention/src/masks.property.test.ts": ["passed"],
    "packages/attention/test/leak.test.ts": ["passed", "failed"],
  }),
  report({ "apps/cli/test/serve.data.test.ts": ["passed"] }),
];

test("a row per concept, a column per kind", () => {
  const table = supportTable(reports, "/repo");
  expect(table.slice(table.indexOf("\n## "))).toMatchInlineSnapshot(`
    "
    ## attention

    | concept | unit | property | gpu | data | browser |
    |---|---:|---:|---:|---:|---:|
    | leak | 1, 1 failed |  |  |  |  |
    | masks | 2, 1 skipped | 1 |  |  |  |

    ## cli

    | concept | unit | property | gpu | data | browser |
    |---|---:|---:|---:|---:|---:|
    | serve |  |  |  | 1 |  |
    "
  `);
});

test("a claim is stale when its row is gone, not when its number changed", () => {
  const fresh = supportTable(reports, "/repo");
  expect(staleLines(fresh.replace("| leak | 1,", "| leak | 7,"), fresh)).toEqual([]);
  expect(staleLines(`${fresh}| gone | 1 |  |  |  |  |\n`, fresh)).toEqual(["| gone | 1 |  |  |  |  |"]);
});

test("a cell that says less than its fresh one is no claim, one that says more is", () => {
  const fresh = supportTable(reports, "/repo");
  const row = "| masks | 2, 1 skipped | 1 |  |  |  |";
  expect(staleLines(fresh.replace(row, "| masks | 2, 1 skipped |  |  |  |  |"), fresh)).toEqual([]);
  const more = "| masks | 2, 1 skipped | 1 | 4 |  |  |";
  expect(staleLines(fresh.replace(row, more), fresh)).toEqual([more]);
  const noSkips = row.replace(", 1 skipped", "");
  expect(staleLines(fresh, fresh.replace(row, noSkips))).toEqual([]);
  expect(staleLines(fresh.replace(row, noSkips), fresh)).toEqual([noSkips]);
  expect(staleLines(fresh.replace("## cli", "## chat"), fresh)).toContain("## chat");
});

test("what a README says is not there yet stands under its area, and is no claim", () => {
  const gap = gapOf("# A\n\nNot there yet: paged caches,\nkernels for GPUs.\n\n## B\n");
  expect(gap).toBe("Not there yet: paged caches, kernels for GPUs.");
  expect(gapOf("# A\n\nNot there yet: all.\n")).toBe("Not there yet: all.");
  expect(gapOf("Not there yet: [speed](../x.md).\n")).toBe("Not there yet: speed.");
  expect(gapOf("# A\n")).toBeUndefined();
  const table = supportTable(reports, "/repo", new Map([["cli", gap ?? ""]]));
  expect(table).toContain(`\n## cli\n\n${gap}\n\n| concept |`);
  expect(staleLines(table.replace("paged caches", "caches"), table)).toEqual([]);
});
