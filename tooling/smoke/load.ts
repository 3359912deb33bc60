import { join } from "node:path";
import { mustRun } from "../checks/command.ts";
import type { Check } from "../checks/run-checks.ts";
import type { SmokeProject } from "./project.ts";

/** Every door loads by `import` and by `require`, with the same names, in the oldest and the newest Node. */
export function loadChecks({ folder, doors, write }: SmokeProject): Check[] {
  const versions = [
    { label: "Node 22", node: join(folder, "node22/node_modules/.bin/node"), major: 22 },
    { label: "Node 24", node: "node", major: 24 },
  ];
  return versions.flatMap(({ label, node, major }) => {
    const guard = `if (!process.version.startsWith("v${major}.")) throw new Error("got " + process.version);`;
    return doors.flatMap((door): Check[] => {
      const slug = `${major}-${door.replace(/\W/g, "-")}`;
      const checkNames = `const names = (m) => Object.keys(m).filter((n) => n !== "default" && n !== "module.exports").sort().join();
if (names(required) !== names(imported)) throw new Error("require: " + names(required) + "; import: " + names(imported));
if (names(imported) === "") throw new Error("exports nothing");`;
      const esm = `${guard}\nimport * as imported from "${door}";\nimport { createRequire } from "node:module";
const required = createRequire(import.meta.url)("${door}");\n${checkNames}\n`;
      const cjs = `${guard}\nconst required = require("${door}");\nimport("${door}").then((imported) => {\n${checkNames}\n});\n`;
      return [
        {
          name: `${door}: import first, ${label}`,
          run: () => mustRun(node, [write(`${slug}.mjs`, esm)], { cwd: folder }),
        },
        {
          name: `${door}: require first, ${label}`,
          run: () => mustRun(node, [write(`${slug}.cjs`, cjs)], { cwd: folder }),
        },
      ];
    });
  });
}

/** Every installed program answers `--help`. */
export function programChecks({ folder, packages }: SmokeProject): Check[] {
  const programs = packages.filter(({ doors }) => doors.length === 0);
  return programs.map(({ name }) => ({
    name: `${name}: heddle --help`,
    run: () => mustRun(join(folder, "node_modules/.bin/heddle"), ["--help"], { cwd: folder }),
  }));
}
