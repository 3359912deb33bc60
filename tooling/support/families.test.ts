import { expect, test } from "vitest";
import { familyTable } from "./families.js";

const report = (name: string, results: readonly (readonly [status: string, fullName: string])[]) => ({
  numPassedTests: 0,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [
    {
      name: `/repository/packages/models/${name}`,
      status: "passed",
      assertionResults: results.map(([status, fullName]) => ({ status, fullName })),
    },
  ],
});

test("a row for each model, a cell for each ability that a test shows", () => {
  const reports = [
    report("src/decoder.test.ts", [
      ["passed", "reference gptj basic logits"],
      ["passed", "cpu gptj long logits"],
      ["passed", "reference opt basic logits"],
      ["failed", "cpu opt basic logits"],
      ["passed", "cpu opt hidden states of each layer"],
    ]),
    report("src/create-decoder.test.ts", [["passed", "cpu gptj greedy tokens with a cache"]]),
    report("src/family-abilities.test.ts", [["skipped", "gptj trains: the gradient is the slope"]]),
    report("test/models.gpu.test.ts", [["passed", "webgpu gptj basic logits"]]),
  ];
  expect(familyTable(reports, "/repository").split("\n").slice(-4)).toEqual([
    "|---|---|---|---|---|---|---|---|",
    "| gptj |  | yes | yes |  |  |  | yes |",
    "| opt |  | no |  |  |  |  |  |",
    "",
  ]);
});
