import { expect, test } from "vitest";
import { brokenLinks, relativeLinks } from "./links.ts";

const markdown = `# A
[a](src/a.ts) and [b](../b#part), [site](https://example.org/x), [here](#a)
\`[no](code.ts)\` <img src="picture.svg">

\`\`\`md
[no](block.ts)
\`\`\`
[later]: docs/c.md
`;

test("relative links are found with their line; code, sites and anchors are not", () => {
  expect(relativeLinks("packages/x/README.md", markdown)).toEqual([
    { file: "packages/x/README.md", line: 2, target: "src/a.ts" },
    { file: "packages/x/README.md", line: 2, target: "../b" },
    { file: "packages/x/README.md", line: 3, target: "picture.svg" },
    { file: "packages/x/README.md", line: 8, target: "docs/c.md" },
  ]);
});

test("a link is broken when its path, from its file's folder, is not there", () => {
  const links = relativeLinks("packages/x/README.md", markdown);
  const paths = new Set(["packages/x/src/a.ts", "packages/b", "packages/x/docs/c.md", "picture.svg"]);
  expect(brokenLinks(links, paths)).toEqual([
    { file: "packages/x/README.md", line: 3, target: "picture.svg" },
  ]);
});
