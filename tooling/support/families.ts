import type { SuiteReport } from "../checks/suite-report.ts";

/** Columns of the table, left to right. */
const abilities = ["load, save", "forward", "generate", "train", "quantise", "GGUF", "WebGPU"] as const;

/**
 * Writes the table of model families: a row for each family, a column for each ability, as tests say in their options what
 * they show (`meta.shows`).
 *
 * "yes" where all tests of the ability passed, "no" where one failed, empty where there is none.
 * @throws Error for an ability that has no column
 */
export function familyTable(reports: readonly SuiteReport[]): string {
  const rows = new Map<string, Map<string, boolean>>();
  const files = reports.flatMap(({ testResults }) => testResults);
  for (const { status, meta } of files.flatMap(({ assertionResults }) => assertionResults)) {
    if (meta?.shows === undefined || (status !== "passed" && status !== "failed")) continue;
    const { family, abilities: shown } = meta.shows;
    const row = rows.get(family) ?? new Map<string, boolean>();
    for (const ability of shown) row.set(ability, (row.get(ability) ?? true) && status === "passed");
    rows.set(family, row);
  }
  const cell = (passed: boolean | undefined) => (passed === undefined ? "" : passed ? "yes" : "no");
  const lines = [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([family, row]) => {
      const unknown = [...row.keys()].find((ability) => !abilities.some((known) => known === ability));
      if (unknown !== undefined)
        throw new Error(`support: abilities are ${abilities}; a test shows "${unknown}".`);
      return `| ${family} | ${abilities.map((ability) => cell(row.get(ability))).join(" | ")} |`;
    });
  return [
    "\n## families of models\n",
    "What tests show of each family, by its `model_type`: its directory loads and is written again; logits (on `reference` and `cpu`) and",
    "greedy tokens from a cache are those of Hugging Face, or of the definition written out in loops where transformers has no such family;",
    "gradients are the slopes of the loss and a step lowers it; 8-bit weights take the places of dense ones; GGUF files give the same logits.\n",
    `| family | ${abilities.join(" | ")} |`,
    `|---|${"---|".repeat(abilities.length)}`,
    ...lines,
    "",
  ].join("\n");
}
