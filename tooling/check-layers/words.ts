import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Problem } from "./problem.ts";

/** Words that no file of the repository holds. Spelt in pieces, so that this file passes its own check. */
const forbidden: readonly { readonly pattern: RegExp; readonly text: string }[] = [
  { pattern: /(?:^|[\s"'`(=:])\/(?:work|root|home\/\w+|Users\/\w+)\/\w/, text: "path of one machine" },
  { pattern: /registry\.[\w.-]+\.\w+/, text: "registry address" },
  {
    pattern: new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX"].join("|")})\\b`),
    text: "unfinished work",
  },
  { pattern: /\bissue #?\d+/i, text: "issue number" },
];

const binary = /\.(?:png|ico|woff2?|gz|safetensors|model|gguf|bin|npz|wasm)$/;

/** Looks through every text file that git tracks, or would. */
export function checkWords(root: string): Problem[] {
  const listed = execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"],
    {
      cwd: root,
      encoding: "utf8",
    },
  );
  const paths = listed
    .split("\n")
    .filter((path) => path !== "" && !binary.test(path) && !path.includes("/golden/"));
  return paths.flatMap((path) => wordProblems(path, readIfPresent(join(root, path))));
}

/** The forbidden words of one text. */
export function wordProblems(path: string, text: string): Problem[] {
  return text.split("\n").flatMap((line, index) =>
    forbidden.flatMap((word): Problem[] => {
      const found = word.pattern.exec(line)?.[0].trim();
      if (found === undefined) return [];
      return [
        { rule: "words", path, line: index + 1, text: `the repository names no ${word.text}; got ${found}.` },
      ];
    }),
  );
}

/** A tracked file that was deleted and not yet committed reads as empty. */
function readIfPresent(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
