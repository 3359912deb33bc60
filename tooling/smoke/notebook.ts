import { mustRun } from "../checks/command.ts";
import type { Check } from "../checks/run-checks.ts";
import type { SmokeProject } from "./project.ts";

/**
 * Every door works in a cell of a tslab notebook. The cells go through tslab's own converter (its TypeScript 5.0)
 * and executor, which is all of its kernel but the socket to Jupyter.
 */
export function notebookChecks({ folder, doors, write }: SmokeProject): Check[] {
  const kernel = write("notebook.cjs", kernelSource);
  const run = (cells: readonly string[]) => mustRun("node", [kernel, JSON.stringify(cells)], { cwd: folder });
  const refusal: Check = {
    name: "notebook: a name that no door has is refused, so types are read",
    run: async () => {
      const shown = await run([`import { noSuchName } from "${doors[0]}"; noSuchName`]).catch(String);
      if (!shown.includes("has no exported member 'noSuchName'")) throw new Error(`got: ${shown}`);
    },
  };
  return [
    ...doors.map((door) => ({
      name: `notebook: ${door} in a tslab cell`,
      run: async () => {
        const shown = await run([`import * as door from "${door}";`, "Object.keys(door).length > 0"]);
        if (!shown.includes("true")) throw new Error(`the cell printed: ${shown}`);
      },
    })),
    refusal,
  ];
}

const kernelSource = `const { createConverter } = require("tslab/dist/converter");
const { createExecutor } = require("tslab/dist/executor");
const node = createConverter();
const executor = createExecutor(process.cwd(), { node, close: () => node.close() }, console);
(async () => {
  for (const cell of JSON.parse(process.argv[2])) {
    if (!(await executor.execute(cell))) process.exitCode = 1;
  }
  executor.close();
})();
`;
