import { expect, test } from "vitest";
import { familyTable } from "./families.js";

type Shown = readonly [status: string, family: string, ...abilities: readonly string[]];

const report = (...results: readonly Shown[]) => ({
  numPassedTests: 0,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [
    {
      name: "/repository/packages/models/src/decoder.test.ts",
      status: "passed",
      assertionResults: [
        { status: "passed", fullName: "shows no family", meta: {} },
        ...results.map(([status, family, ...abilities]) => {
          return { status, fullName: "a test", meta: { shows: { family, abilities } } };
        }),
      ],
    },
  ],
});

test("a row for each family, a cell for each ability that a test shows", () => {
  const unit = report(
    ["passed", "opt", "forward"],
    ["failed", "opt", "forward"],
    ["passed", "gptj", "forward", "generate"],
    ["passed", "gptj", "forward"],
    ["skipped", "gptj", "train"],
  );
  expect(
    familyTable([unit, report(["passed", "gptj", "WebGPU"])])
      .split("\n")
      .slice(-5),
  ).toEqual([
    "| family | load, save | forward | generate | train | quantise | GGUF | WebGPU |",
    "|---|---|---|---|---|---|---|---|",
    "| gptj |  | yes | yes |  |  |  | yes |",
    "| opt |  | no |  |  |  |  |  |",
    "",
  ]);
});

test("an ability without a column is an error", () => {
  expect(() => familyTable([report(["passed", "opt", "sing"])])).toThrow('a test shows "sing"');
});
