// Heddle in a process of its own. Argument: a job as JSON. Answers "run" with the milliseconds of one step.
import { serve } from "../cpu/contestant.mjs";
import { importSource } from "../cpu/sources.mjs";

const job = JSON.parse(process.argv[2]);
const { trainingContestant } = await importSource("../training/heddle.ts");
const contestant = trainingContestant(job, job.threads);

serve({ name: "Heddle", detail: contestant.detail }, async () => {
  const started = performance.now();
  const loss = contestant.step();
  return { ms: performance.now() - started, loss };
});
