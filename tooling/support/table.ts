import { relative } from "node:path";
import type { SuiteReport } from "../checks/suite-report.ts";

/** How a concept is tested; the kind is in the test file's name. */
const kinds = ["unit", "property", "gpu", "data", "browser"] as const;
type Kind = (typeof kinds)[number];

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const introduction = `# What works

Generated from the results of the tests by \`npm run support\`; a number is how many tests of that kind passed.
*Unit* tests compare with values worked out by hand and with golden data of other libraries, *property* tests try
random inputs, *gpu* tests run on a WebGPU adapter (in software where the machine has no GPU), *data* tests run real models and texts, *browser* tests run in Chromium. What is not there yet is taken
from the README of each package.
`;

/**
 * Writes the support table: a section for each package or app, a row for each concept that it tests.
 *
 * @param gaps  what an area does not do yet, by its name
 */
export function supportTable(
  reports: readonly SuiteReport[],
  root: string,
  gaps: ReadonlyMap<string, string> = new Map(),
): string {
  const areas = new Map<string, Map<string, Map<Kind, Tally>>>();
  for (const { name, assertionResults } of reports.flatMap(({ testResults }) => testResults)) {
    const { area, concept, kind } = classify(relative(root, name));
    const concepts = getOrCreate(areas, area, () => new Map<string, Map<Kind, Tally>>());
    const tallies = getOrCreate(concepts, concept, () => new Map<Kind, Tally>());
    const tally = getOrCreate(tallies, kind, () => ({ passed: 0, failed: 0, skipped: 0 }));
    for (const { status } of assertionResults) {
      if (status === "passed" || status === "failed") tally[status] += 1;
      else tally.skipped += 1;
    }
  }
  const sections = [...areas].sort(byName).map(([area, concepts]) => {
    const rows = [...concepts].sort(byName).map(([concept, tallies]) => {
      return `| ${concept} | ${kinds.map((kind) => cell(tallies.get(kind))).join(" | ")} |`;
    });
    const gap = gaps.get(area);
    return [
      `\n## ${area}\n`,
      ...(gap === undefined ? [] : [`${gap}\n`]),
      `| concept | ${kinds.join(" | ")} |`,
      `|---|${"---:|".repeat(kinds.length)}`,
      ...rows,
    ].join("\n");
  });
  return `${introduction}${sections.join("\n")}\n`;
}

/** The paragraph of a README that begins with "Not there yet", on one line, its links as plain words. */
export function gapOf(readme: string): string | undefined {
  const paragraph = readme.split(/\n{2,}/).find((text) => text.startsWith("Not there yet"));
  return paragraph
    ?.trim()
    .replace(/\n/g, " ")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}

/**
 * Lines of a stored table that claim what the fresh one does not bear out: another text, a row that is gone, or a cell that
 * says more than its fresh one. Numbers, gaps, skips that are gone and cells that could say more by now are no claims.
 */
export function staleLines(stored: string, fresh: string): string[] {
  const known = linesOf(fresh);
  return linesOf(stored)
    .filter(({ cells }) => !known.some((line) => bearsOut(line.cells, cells)))
    .map(({ line }) => line)
    .filter((line) => !line.startsWith("Not there yet"));
}

/** Lines with their cells: the section they stand under first, numbers taken out. */
function linesOf(table: string): { line: string; cells: string[] }[] {
  let section = "";
  return table.split("\n").map((line) => {
    if (line.startsWith("## ")) section = line;
    return { line, cells: [section, ...line.replace(/\d+/g, "n").split(" |")] };
  });
}

function bearsOut(fresh: readonly string[], stored: readonly string[]): boolean {
  if (fresh.length !== stored.length) return false;
  return stored.every(
    (cell, index) =>
      cell === fresh[index] ||
      cell.replace(", n skipped", "") === fresh[index] ||
      (index > 1 && cell.trim() === ""),
  );
}

/** `packages/attention/src/masks.property.test.ts` is area attention, concept masks, kind property. */
function classify(path: string): { area: string; concept: string; kind: Kind } {
  const [, area = "", ...rest] = path.split("/");
  const file = rest.join("/").replace(/^(src|test)\//, "");
  const found = /\.(property|gpu|data|browser)\.test\.tsx?$/.exec(file)?.[1];
  const concept = file.replace(/(\.(property|gpu|data|browser))?\.test\.tsx?$/, "");
  return {
    area: path.startsWith("tooling/") ? "tooling" : area,
    concept,
    kind: kinds.find((kind) => kind === found) ?? "unit",
  };
}

function cell(tally: Tally | undefined): string {
  if (tally === undefined) return "";
  const { passed, failed, skipped } = tally;
  return [`${passed}`, failed > 0 && `${failed} failed`, skipped > 0 && `${skipped} skipped`]
    .filter(Boolean)
    .join(", ");
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function getOrCreate<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  const value = map.get(key) ?? create();
  map.set(key, value);
  return value;
}
