import { writeSync } from "node:fs";
import { cpu } from "@heddle/tensor";
import { checkpointDirectory } from "../../src/node/checkpoint-directory.js";
import { train } from "../../src/train.js";
import { fingerprint, smallRun } from "../small-run.js";

// Trains in a directory up to a step, going on from what is there; prints each finished step and at the end the weights.
const [directory = "", steps = "40", every = "1"] = process.argv.slice(2);
const device = cpu({ threads: 1 });
const checkpoints = checkpointDirectory(directory);
const options = smallRun(device, Number(steps));
const resume = await checkpoints.latest();
await train({
  ...options,
  checkpoints: { every: Number(every), save: checkpoints.save },
  ...(resume === undefined ? {} : { resume }),
  onEvent: (event) => {
    if (event.kind === "checkpoint") writeSync(1, `step ${event.step}\n`);
  },
});
writeSync(1, `weights ${fingerprint(options.weights).replaceAll("\n", " ")}\n`);
device.dispose();
