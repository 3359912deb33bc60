import { join } from "node:path";
import { command } from "../checks/command.ts";
import type { Check } from "../checks/run-checks.ts";
import type { SmokeProject } from "./project.ts";

const strict = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom"];
const node10 = [...strict, "--module", "commonjs", "--moduleResolution", "node10"];
const nodeNext = [...strict, "--module", "nodenext", "--ignoreConfig"];
const bundler = [...strict, "--module", "esnext", "--moduleResolution", "bundler", "--ignoreConfig"];
const withNode = ["--types", "node"];
const withoutNode = ["--types", ""];

/**
 * The declarations read without an error in the oldest and the newest TypeScript. A package's main door needs no
 * types of Node, for people who write for browsers; its other doors may.
 */
export function typeChecks({ folder, doors, write }: SmokeProject): Check[] {
  const mainDoors = doors.filter((door) => door.split("/").length === 2);
  const old = ["node", join(folder, "node_modules/typescript-5.0/bin/tsc")];
  const use = (name: string, used: readonly string[]) => {
    const imports = used.map((door, index) => `import * as door${index} from "${door}";`);
    return write(
      name,
      `${imports.join("\n")}\nexport const all = [${used.map((_, index) => `door${index}`)}];\n`,
    );
  };
  const reads = (name: string, compiler: readonly string[], args: readonly string[]): Check => ({
    name: `types: ${name}`,
    run: () => mustRead([...compiler, ...args], folder),
  });
  return [
    reads("TypeScript 5.0, node10", old, [...node10, ...withNode, use("all.ts", doors)]),
    reads("TypeScript 5.0, node10, no Node", old, [...node10, ...withoutNode, use("main.ts", mainDoors)]),
    reads("TypeScript 7, nodenext, import", ["tsc"], [...nodeNext, ...withNode, use("all.mts", doors)]),
    reads("TypeScript 7, nodenext, require", ["tsc"], [...nodeNext, ...withNode, use("all.cts", doors)]),
    reads("TypeScript 7, bundler, no Node", ["tsc"], [...bundler, ...withoutNode, use("main.ts", mainDoors)]),
    {
      name: "types: a name that no door has is an error",
      run: async () => {
        const wrong = write("wrong.ts", `export { noSuchName } from "${doors[0]}";\n`);
        const { output } = await command("node", [...old.slice(1), ...node10, wrong], { cwd: folder });
        if (!output.includes("'noSuchName'"))
          throw new Error(`the declarations were not read; got: ${output}`);
      },
    },
  ];
}

/** Compiles and fails on every error but those inside other people's declarations. */
async function mustRead([compiler = "", ...args]: readonly string[], folder: string): Promise<void> {
  const { exitCode, output } = await command(compiler, args, { cwd: folder });
  const errors = output.split("\n").filter((line) => /error TS\d+/.test(line));
  const ours = errors.filter((line) => line.includes("@heddle/") || !line.includes("node_modules/"));
  if (ours.length > 0) throw new Error(ours.join("\n"));
  if (exitCode !== 0 && errors.length === 0)
    throw new Error(`the compiler ended with ${exitCode}: ${output}`);
}
