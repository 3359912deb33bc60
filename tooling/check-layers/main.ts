// Checks what keeps the repository readable: layers, cycles, honest manifests, sizes, names, words.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkCycles } from "./cycles.ts";
import { checkDependencies } from "./dependencies.ts";
import { checkHouseStyle } from "./house-style.ts";
import { checkLayers } from "./layers.ts";
import { type Allowance, applyAllowances } from "./problem.ts";
import { checkWords } from "./words.ts";
import { readWorkspace } from "./workspace.ts";

const root = join(import.meta.dirname, "../..");
const allowances: Allowance[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "allow-list.json"), "utf8"),
);

const packages = readWorkspace(root);
const files = packages.flatMap((pkg) => pkg.files);
const found = [
  ...checkLayers(packages),
  ...checkCycles(files),
  ...checkDependencies(packages),
  ...checkHouseStyle(packages),
  ...checkWords(root),
];
const problems = applyAllowances(found, allowances);
for (const { rule, path, line, text } of problems)
  console.error(`${path}${line > 0 ? `:${line}` : ""}  ${rule}: ${text}`);
const excused = allowances.length === 0 ? "" : `, ${allowances.length} allowances`;
console.log(
  `check:layers: ${files.length} files in ${packages.length} packages, ${problems.length} problems${excused}.`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
