import { writeSync } from "node:fs";
import { disposeTree, reference } from "@heddle/tensor";
import { saveCheckpoint } from "../../src/node/index.js";
import { contentOf } from "./content.js";

// Saves one checkpoint after another until it is killed; says after each which step is safe.
const [directory = "", firstStep = "1"] = process.argv.slice(2);
const device = reference();
for (let step = Number(firstStep); ; step++) {
  const content = contentOf(device, step);
  await saveCheckpoint(directory, content, { keepLast: 2 });
  disposeTree(content.trees);
  writeSync(1, `${step}\n`);
}
