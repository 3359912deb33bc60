import { describe, expect, test } from "vitest";
import { checkCycles } from "./cycles.ts";
import { checkDependencies } from "./dependencies.ts";
import { checkHouseStyle } from "./house-style.ts";
import { checkLayers } from "./layers.ts";
import { applyAllowances } from "./problem.ts";
import { readSource } from "./source-file.ts";
import { wordProblems } from "./words.ts";
import type { WorkspacePackage } from "./workspace.ts";

function pkg(name: string, layer: number, sources: Record<string, string>, dependencies: string[] = []) {
  const folder = `packages/${name}`;
  const files = Object.entries(sources).map(([path, text]) => readSource(`${folder}/${path}`, text));
  return {
    name: `@heddle/${name}`,
    folder,
    layer,
    dependencies,
    devDependencies: [],
    optionalPeers: [],
    doors: [],
    files,
  } satisfies WorkspacePackage;
}

const texts = (problems: readonly { path: string; line: number; text: string }[]) =>
  problems.map(({ path, line, text }) => `${path}:${line} ${text}`);

describe("layers", () => {
  const tensor = pkg("tensor", 0, {});
  const models = (text: string) => pkg("models", 3, { "src/index.ts": text });

  test("an import downward is fine, also through a door", () => {
    expect(checkLayers([tensor, models(`import { a } from "@heddle/tensor/reference";`)])).toEqual([]);
  });

  test("an import upward, sideways or to nowhere is a problem, as is a missing layer", () => {
    const up = pkg("tensor", 0, { "src/a.ts": `\nexport { x } from "@heddle/models";` });
    expect(texts(checkLayers([up, models("")]))).toEqual([
      "packages/tensor/src/a.ts:2 imports go down only; @heddle/tensor (layer 0) uses @heddle/models (layer 3).",
    ]);
    const sideways = pkg("peft", 3, { "src/a.ts": `type A = import("@heddle/models").A;` });
    expect(texts(checkLayers([sideways, models("")]))[0]).toContain("uses @heddle/models (layer 3)");
    expect(texts(checkLayers([pkg("peft", 3, {}, ["@heddle/gone"])]))[0]).toContain("(not a package here)");
    expect(texts(checkLayers([{ ...tensor, layer: undefined }]))[0]).toContain("needs");
  });
});

describe("cycles", () => {
  test("a chain has none; a loop is reported once with its files; type imports do not count", () => {
    const chain = { "src/a.ts": `import "./b.js";`, "src/b.ts": `import "./c.js";`, "src/c.ts": "" };
    expect(checkCycles(pkg("tensor", 0, chain).files)).toEqual([]);
    const loop = { ...chain, "src/c.ts": `export { a } from "./a.js";` };
    const [knot, ...others] = checkCycles(pkg("tensor", 0, loop).files);
    expect(knot?.text).toContain("src/a.ts, packages/tensor/src/b.ts, packages/tensor/src/c.ts");
    expect(others).toEqual([]);
    const erased = { ...chain, "src/c.ts": `import type { A } from "./a.js";` };
    expect(checkCycles(pkg("tensor", 0, erased).files)).toEqual([]);
  });
});

describe("dependencies", () => {
  test("imports and manifest agree; tests may use what the root provides", () => {
    const sources = {
      "src/a.ts": `import z from "zod/v4"; import "node:fs";`,
      "src/a.test.ts": `import "vitest";`,
    };
    expect(checkDependencies([pkg("models", 3, sources, ["zod"])])).toEqual([]);
    expect(texts(checkDependencies([pkg("models", 3, sources, ["hono"])]))).toEqual([
      "packages/models/src/a.ts:1 zod/v4 is missing in dependencies of @heddle/models.",
      "packages/models/package.json:0 no file in src imports the dependency hono.",
    ]);
  });
});

describe("house style", () => {
  const rulesOf = (path: string, text: string) =>
    checkHouseStyle([pkg("tensor", 0, { [path]: text })]).map((p) => p.rule);

  test("clean code passes", () => {
    expect(
      rulesOf(
        "src/shape.ts",
        `import { a } from "./a.js";\nexport const b = (x: number) => { let y = x; return y; };`,
      ),
    ).toEqual([]);
  });

  test.each([
    ["module-let", "src/a.ts", "let count = 0;"],
    ["default-export", "src/a.ts", "export default 1;"],
    ["export-star", "src/a.ts", `export * from "./b.js";`],
    ["extends", "src/a.ts", "class A extends B {}"],
    ["top-level-await", "src/a.ts", "export const x = await f();"],
    ["file-name", "src/utils.ts", ""],
    ["file-size", "src/a.ts", "//\n".repeat(501)],
    ["function-size", "src/a.ts", `function f() {${"\n".repeat(80)}}`],
    ["parameters", "src/a.ts", "const f = (a: 1, b: 2, c: 3, d: 4, e: 5) => a;"],
    ["import-path", "src/a.ts", `import "../test/x.js";`],
    ["import-path", "src/a.ts", `import "./b.ts";`],
  ])("%s", (rule, path, text) => {
    expect(rulesOf(path, text)).toEqual([rule]);
  });

  test("the lines of a template text do not make a function long", () => {
    expect(rulesOf("src/a.ts", `const f = () => \`${"\n".repeat(90)}\`;`)).toEqual([]);
  });

  test("errors may extend, and a function may await", () => {
    expect(
      rulesOf("src/a.ts", "export class A extends TypeError {}\nexport async function f() { await 0; }"),
    ).toEqual([]);
  });
});

test("words: paths of a machine are found, URLs and relative paths are not", () => {
  const path = ["", "home", "ada", "notes"].join("/"); // in pieces, as this file is checked too
  expect(texts(wordProblems("README.md", `fine\nsee ${path}`))).toEqual([
    `README.md:2 the repository names no path of one machine; got ${path.slice(0, 11)}.`,
  ]);
  expect(wordProblems("README.md", "https://x.y/work/z ./root/x packages/home/a/b")).toEqual([]);
});

test("an allowance excuses its own rule and file, and must not be idle", () => {
  const problem = { rule: "cycle", path: "a.ts", line: 0, text: "" } as const;
  const allowance = { rule: "cycle", path: "a.ts", reason: "types only" } as const;
  expect(applyAllowances([problem], [allowance])).toEqual([]);
  expect(applyAllowances([problem], [{ ...allowance, path: "b.ts" }])).toHaveLength(2);
  expect(applyAllowances([problem], [{ ...allowance, reason: " " }])).toHaveLength(1);
});
