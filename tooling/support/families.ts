import { relative } from "node:path";
import type { SuiteReport } from "../checks/suite-report.ts";

interface Ability {
  readonly name: string;
  /** Which test files show it, relative to the repository. */
  readonly file: RegExp;
  /** Finds the golden model in the full name of a test that shows it. */
  readonly title: RegExp;
}

/** What a family of models can do, each shown by tests against golden data or by laws. */
const abilities: readonly Ability[] = [
  { name: "load, save", file: /models\/src\/(?:\w+\/)?save-model\.test/, title: /^(\S+) a model saved/ },
  {
    name: "forward",
    file: /models\/src\/(?:\w+\/)?(?:decoder|encoder|recurrent|encoder-decoder)\.test/,
    title: /^(?:reference|cpu) (\S+) .*logits/,
  },
  {
    name: "generate",
    file: /models\/src\/(?:\w+\/)?(?:create-decoder|recurrent|encoder-decoder)\.test/,
    title: /^(?:reference|cpu) (\S+) greedy/,
  },
  { name: "train", file: /models\/src\/family-abilities\.test/, title: /^(\S+) trains/ },
  { name: "quantise", file: /models\/src\/family-abilities\.test/, title: /^(\S+) takes weights/ },
  { name: "GGUF", file: /models\/(?:src|test)\/.*gguf.*\.test/, title: /^(\S+) .*GGUF/ },
  { name: "WebGPU", file: /models\.gpu\.test/, title: /^webgpu (\S+) .*logits/ },
];

/**
 * Writes the table of model families: a row for each golden model that a test names, a column for each ability.
 *
 * "yes" where all tests of the ability passed, "no" where one failed, empty where there is none.
 */
export function familyTable(reports: readonly SuiteReport[], root: string): string {
  const rows = new Map<string, Map<string, boolean>>();
  for (const { name, assertionResults } of reports.flatMap(({ testResults }) => testResults)) {
    const file = relative(root, name);
    for (const { status, fullName } of assertionResults) {
      if (status !== "passed" && status !== "failed") continue;
      for (const ability of abilities) {
        const model = ability.file.test(file) ? ability.title.exec(fullName)?.[1] : undefined;
        if (model === undefined) continue;
        const row = rows.get(model) ?? new Map<string, boolean>();
        row.set(ability.name, (row.get(ability.name) ?? true) && status === "passed");
        rows.set(model, row);
      }
    }
  }
  const cell = (passed: boolean | undefined) => (passed === undefined ? "" : passed ? "yes" : "no");
  const lines = [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([model, row]) => `| ${model} | ${abilities.map(({ name }) => cell(row.get(name))).join(" | ")} |`);
  return [
    "\n## families of models\n",
    "What tests show of each golden model: logits, hidden states and greedy tokens against Hugging Face's.\n",
    `| model | ${abilities.map(({ name }) => name).join(" | ")} |`,
    `|---|${"---|".repeat(abilities.length)}`,
    ...lines,
    "",
  ].join("\n");
}
