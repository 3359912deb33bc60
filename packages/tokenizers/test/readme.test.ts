import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import * as tokenizers from "../src/index.js";

it("the README's first screen runs and prints what it says", async () => {
  const readme = readFileSync(join(import.meta.dirname, "../README.md"), "utf8");
  const code = /```ts run\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const names = /import \{([^}]*)\}/.exec(code)?.[1] ?? "";
  const body = code.replace(/^import.*$/m, "").replaceAll("console.log", "log");
  const log = vi.fn();
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as FunctionConstructor;
  await new AsyncFunction("tokenizers", "log", `const {${names}} = tokenizers;${body}`)(tokenizers, log);
  const printed = log.mock.calls;
  expect(printed[0]).toEqual([true, [10, 17]]);
  expect(printed[1]).toEqual(["the cat 😀<|end|>"]);
  expect(printed.slice(2, -1).join("")).toBe("the cat 😀");
});
