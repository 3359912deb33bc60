import { expect, test } from "vitest";
import { missingLines, runnableBlocks } from "./code-blocks.ts";

test("only blocks marked `ts run` are found, with their line", () => {
  const markdown = "# A\n\n```ts\nno();\n```\n\n```ts run\nyes();\n```\n";
  expect(runnableBlocks("README.md", markdown)).toEqual([{ file: "README.md", line: 8, code: "yes();\n" }]);
});

test("printed lines are compared in order and up to spaces", () => {
  const code = `console.log(shape); // [1, 8]\nconsole.log(time); // e.g. 12 ms\nconsole.log(x) // true\n`;
  expect(missingLines(code, "[ 1, 8 ]\n13 ms\ntrue\n")).toEqual([]);
  expect(missingLines(code, "true\n13 ms\n[ 1, 8 ]\n")).toEqual(["true"]);
  expect(missingLines(code, "")).toEqual(["[1, 8]", "true"]);
});
