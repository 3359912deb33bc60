import { join } from "node:path";
import { command } from "../checks/command.ts";
import type { Check } from "../checks/run-checks.ts";
import type { SmokeProject } from "./project.ts";

interface Audience {
  readonly name: string;
  readonly compiler: readonly [string, ...string[]];
  readonly module: "commonjs" | "nodenext" | "esnext";
  readonly moduleResolution: "node10" | "nodenext" | "bundler";
  /** The extension of the importing file, which decides between `import` and `require`. */
  readonly extension: "ts" | "mts" | "cts";
  readonly hasNodeTypes: boolean;
}

/**
 * The declarations read without an error in the oldest and the newest TypeScript. A package's main door needs no
 * types of Node, for people who write for browsers; its other doors may.
 */
export function typeChecks({ folder, doors, write }: SmokeProject): Check[] {
  const mainDoors = doors.filter((door) => door.split("/").length === 2);
  const old = ["node", join(folder, "node_modules/typescript-5.0/bin/tsc")] as const;
  const node10 = { module: "commonjs", moduleResolution: "node10" } as const;
  const nodeNext = { module: "nodenext", moduleResolution: "nodenext" } as const;
  const bundler = { module: "esnext", moduleResolution: "bundler" } as const;
  const audiences: Audience[] = [
    { name: "TypeScript 5.0, node10", compiler: old, ...node10, extension: "ts", hasNodeTypes: true },
    {
      name: "TypeScript 5.0, node10, no Node",
      compiler: old,
      ...node10,
      extension: "ts",
      hasNodeTypes: false,
    },
    {
      name: "TypeScript 7, nodenext, import",
      compiler: ["tsc"],
      ...nodeNext,
      extension: "mts",
      hasNodeTypes: true,
    },
    {
      name: "TypeScript 7, nodenext, require",
      compiler: ["tsc"],
      ...nodeNext,
      extension: "cts",
      hasNodeTypes: true,
    },
    {
      name: "TypeScript 7, bundler, no Node",
      compiler: ["tsc"],
      ...bundler,
      extension: "ts",
      hasNodeTypes: false,
    },
  ];
  const checks = audiences.map((audience, index) => ({
    name: `types: ${audience.name}`,
    run: () => {
      const used = audience.hasNodeTypes ? doors : mainDoors;
      const imports = used.map((door, number) => `import * as door${number} from "${door}";`);
      const all = used.map((_, number) => `door${number}`).join(", ");
      write(`types-${index}.${audience.extension}`, `${imports.join("\n")}\nexport const all = [${all}];\n`);
      return mustRead(audience, write(`types-${index}.json`, configOf(audience, index)), folder);
    },
  }));
  const refusal: Check = {
    name: "types: a name that no door has is an error",
    run: async () => {
      write("types-0.ts", `export { noSuchName } from "${doors[0]}";\n`);
      const shown = await command("node", [...old.slice(1), "--project", "types-0.json"], { cwd: folder });
      if (!shown.output.includes("'noSuchName'"))
        throw new Error(`the types were not read; got: ${shown.output}`);
    },
  };
  return [...checks, refusal];
}

function configOf({ module, moduleResolution, extension, hasNodeTypes }: Audience, index: number): string {
  const types = hasNodeTypes ? ["node"] : [];
  const language = { strict: true, noEmit: true, target: "es2022", lib: ["es2022", "dom"] };
  const compilerOptions = { ...language, module, moduleResolution, types };
  return JSON.stringify({ compilerOptions, files: [`types-${index}.${extension}`] });
}

/** Compiles and fails on every error but those inside other people's declarations. */
async function mustRead({ compiler }: Audience, config: string, folder: string): Promise<void> {
  const [program, ...args] = compiler;
  const { exitCode, output } = await command(program, [...args, "--project", config], { cwd: folder });
  const errors = output.split("\n").filter((line) => /error TS\d+/.test(line));
  const ours = errors.filter((line) => line.includes("@heddle/") || !line.includes("node_modules/"));
  if (ours.length > 0) throw new Error(ours.join("\n"));
  if (exitCode !== 0 && errors.length === 0)
    throw new Error(`the compiler ended with ${exitCode}: ${output}`);
}
