import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mustRun, root } from "../checks/command.ts";
import type { Check } from "../checks/run-checks.ts";
import { brokenLinksOf } from "../readme/links.ts";
import { type CodeBlock, missingLines, runnableBlocks } from "./code-blocks.ts";
import type { SmokeProject } from "./project.ts";

/** Relative links lead somewhere; every block of a README that is marked `ts run` prints what its comments say. */
export function readmeChecks({ folder, write }: SmokeProject): Check[] {
  const files = globSync("{README*.md,packages/*/README*.md,apps/*/README*.md}", { cwd: root }).sort();
  const blocks = files.flatMap((file) => runnableBlocks(file, readFileSync(join(root, file), "utf8")));
  const runs = blocks.map((block, index) => ({
    name: `${block.file}:${block.line} runs`,
    run: () => runBlock(block, write(`readme-${index}.ts`, block.code), folder),
  }));
  return [{ name: "relative links in Markdown", run: checkLinks }, ...runs];
}

function checkLinks(): void {
  const broken = brokenLinksOf(root).map(({ file, line, target }) => `${file}:${line} leads to ${target}`);
  if (broken.length > 0)
    throw new Error(`links must lead to files of the repository; got\n${broken.join("\n")}`);
}

async function runBlock(block: CodeBlock, path: string, folder: string): Promise<void> {
  const printed = await mustRun("node", ["--disable-warning=ExperimentalWarning", path], { cwd: folder });
  const missing = missingLines(block.code, printed);
  if (missing.length > 0) throw new Error(`does not print ${missing.join(" | ")}; got:\n${printed}`);
}
