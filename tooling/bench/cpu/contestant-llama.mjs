// node-llama-cpp in a process of its own. Argument: a job as JSON. Answers "run" with the milliseconds of one round.
import { getLlama } from "node-llama-cpp";
import { serve } from "./contestant.mjs";

const job = JSON.parse(process.argv[2]);
const loadedFrom = performance.now();
const llama = await getLlama({ gpu: false, build: "never", maxThreads: job.threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath: job.file });
const context = await model.createContext({
  threads: { ideal: job.threads, min: job.threads },
  sequences: job.numSequences,
  contextSize: job.maxSeqLen,
  batchSize: Math.max(512, job.numSequences),
  flashAttention: true,
});
const loadMs = performance.now() - loadedFrom;
const sequences = Array.from({ length: job.numSequences }, () => context.getSequence());

/** Greedy continuation of a prompt; resolves with the time of all tokens but the first, which pays for the prompt. */
async function decode(sequence, prompt) {
  const ids = [];
  let started = 0;
  for await (const id of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (ids.length === 0) started = performance.now();
    ids.push(id);
    if (ids.length > job.numTokens) break;
  }
  return { ms: performance.now() - started, ids };
}

const cases = {
  async decode() {
    const [sequence] = sequences;
    await sequence.clearHistory();
    const { ms, ids } = await decode(sequence, job.prompts[0]);
    return { ms, ids };
  },
  async prefill() {
    const [sequence] = sequences;
    await sequence.clearHistory();
    const started = performance.now();
    for await (const id of sequence.evaluate(job.prompts[0], { temperature: 0, yieldEogToken: true })) {
      return { ms: performance.now() - started, ids: [id] };
    }
  },
  async batch() {
    for (const sequence of sequences) await sequence.clearHistory();
    const started = performance.now();
    const all = await Promise.all(sequences.map((sequence, i) => decode(sequence, job.prompts[i])));
    return { ms: performance.now() - started, ids: all[0].ids };
  },
};

serve({ name: "node-llama-cpp", detail: llama.llamaCppRelease.release, loadMs }, cases[job.case]);
