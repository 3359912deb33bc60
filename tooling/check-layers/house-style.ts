import { posix } from "node:path";
import type { Problem } from "./problem.ts";
import type { SmellRule, SourceFile } from "./source-file.ts";
import type { WorkspacePackage } from "./workspace.ts";

/** Caps in lines, and in parameters: three and one options object. */
const caps = { fileLines: 500, functionLines: 80, parameters: 4 };
const grabBags = /(?:^|\/)(?:utils?|helpers?|common|misc)(?:\.tsx?$|\/)/;

const smellTexts: Record<SmellRule, string> = {
  "module-let": "a module holds no mutable state",
  "default-export": "exports have names",
  "export-star": "an index lists its exports by name",
  extends: "only errors extend; everything else composes",
  "top-level-await": "a library has no top-level await, or it could not be required",
};

/** Sizes, names and shapes of files and functions. */
export function checkHouseStyle(packages: readonly WorkspacePackage[]): Problem[] {
  return packages.flatMap(({ folder, files }) =>
    files.flatMap((file) => [...fileProblems(file), ...importProblems(file, folder), ...smellProblems(file)]),
  );
}

function fileProblems({ path, numLines, functions, isShipped }: SourceFile): Problem[] {
  const problems: Problem[] = [];
  if (grabBags.test(path))
    problems.push({
      rule: "file-name",
      path,
      line: 0,
      text: "a file is named after its concept, not utils or helpers.",
    });
  if (numLines > caps.fileLines)
    problems.push({
      rule: "file-size",
      path,
      line: 0,
      text: `a file has at most ${caps.fileLines} lines; got ${numLines}.`,
    });
  for (const { name, line, numLines, numParameters } of isShipped ? functions : []) {
    if (numLines > caps.functionLines) {
      const text = `a function has at most ${caps.functionLines} lines; got ${name} with ${numLines}.`;
      problems.push({ rule: "function-size", path, line, text });
    }
    if (numParameters > caps.parameters) {
      const text = `a function takes at most 3 parameters and one options object; got ${name} with ${numParameters}.`;
      problems.push({ rule: "parameters", path, line, text });
    }
  }
  return problems;
}

function importProblems({ path, imports, isShipped }: SourceFile, folder: string): Problem[] {
  if (!isShipped) return [];
  return imports.flatMap(({ specifier, line }): Problem[] => {
    if (!specifier.startsWith(".")) return [];
    const target = posix.join(posix.dirname(path), specifier);
    if (!target.startsWith(`${folder}/src/`))
      return [
        { rule: "import-path", path, line, text: `src imports nothing outside src; got ${specifier}.` },
      ];
    if (/\.tsx?$/.test(specifier) || posix.extname(specifier) === "")
      return [{ rule: "import-path", path, line, text: `relative imports end in .js; got ${specifier}.` }];
    return [];
  });
}

function smellProblems({ path, smells, isShipped }: SourceFile): Problem[] {
  const isConfig = path.endsWith(".config.ts");
  const isProgram = path.startsWith("apps/");
  return smells.flatMap(({ rule, text, line }): Problem[] => {
    if (rule === "default-export" && isConfig) return [];
    if (rule === "top-level-await" && (isProgram || !isShipped)) return [];
    if (rule === "module-let" && !isShipped) return [];
    return [{ rule, path, line, text: `${smellTexts[rule]}; got \`${text}\`.` }];
  });
}
