import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

/** A link of a Markdown file to another file of the repository. */
export interface Link {
  readonly file: string;
  readonly line: number;
  /** As it is written, without what follows `#`. */
  readonly target: string;
}

/** Finds the relative links of a Markdown text; code, other sites and links within the page are passed over. */
export function relativeLinks(file: string, markdown: string): Link[] {
  const blank = (code: string) => code.replace(/[^\n]/g, " ");
  const prose = markdown.replace(/^(```|~~~)[\s\S]*?^\1/gm, blank).replace(/`[^`\n]+`/g, blank);
  return prose.split("\n").flatMap((text, index) =>
    [...text.matchAll(/\]\(([^()\s]+)\)|^\[[^\]]+\]: (\S+)|(?:src|href)="([^"]+)"/g)].flatMap(
      (found): Link[] => {
        const [target = ""] = (found[1] ?? found[2] ?? found[3] ?? "").split("#");
        return target === "" || /^[a-z]+:/i.test(target) ? [] : [{ file, line: index + 1, target }];
      },
    ),
  );
}

/** The links that lead to none of the given paths, which are relative to the root. */
export function brokenLinks(links: readonly Link[], paths: ReadonlySet<string>): Link[] {
  return links.filter(({ file, target }) => {
    const path = posix.join(posix.dirname(file), target).replace(/\/$/, "");
    return !paths.has(path);
  });
}

/** Looks through every Markdown file that git tracks, or would; a link may lead to a folder. */
export function brokenLinksOf(root: string): Link[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"];
  const files = execFileSync("git", args, { cwd: root, encoding: "utf8" })
    .trim()
    .split("\n")
    .filter((file) => existsSync(join(root, file)));
  const paths = new Set(["."]);
  for (const file of files) for (let path = file; path !== "."; path = posix.dirname(path)) paths.add(path);
  const links = files
    .filter((file) => file.endsWith(".md"))
    .flatMap((file) => relativeLinks(file, readFileSync(join(root, file), "utf8")));
  return brokenLinks(links, paths);
}
