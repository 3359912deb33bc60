// Heddle in a process of its own. Argument: a job as JSON. Answers "run" with the milliseconds of one round.
import { serve } from "./contestant.mjs";
import { importSource } from "./sources.mjs";

const job = JSON.parse(process.argv[2]);
const { cpu, createDecoder, createEngine, generate, openModel } = await importSource("./heddle.ts");
const device = cpu({ threads: job.threads });
const loadedFrom = performance.now();
const model = await openModel(job.file, { device });
const decoder = createDecoder(model, {
  numSlots: job.numSequences,
  maxSeqLen: job.maxSeqLen,
  ...(job.maxRows === undefined ? {} : { maxRows: job.maxRows }),
});
const loadMs = performance.now() - loadedFrom;

/** Greedy continuation of a prompt; the time of all tokens but the first, which pays for the prompt. */
async function decode() {
  const ids = [];
  let started = 0;
  const options = { decoder, maxTokens: job.numTokens + 1, temperature: 0, ignoreEos: true };
  for await (const { id } of generate(model, job.prompts[0], options)) {
    if (ids.length === 0) started = performance.now();
    ids.push(id);
  }
  return { ms: performance.now() - started, ids };
}

async function prefill() {
  const started = performance.now();
  const ids = [];
  const options = { decoder, maxTokens: 1, temperature: 0, ignoreEos: true };
  for await (const { id } of generate(model, job.prompts[0], options)) ids.push(id);
  return { ms: performance.now() - started, ids };
}

/** All sequences at once through the serving engine, prompts included. */
async function batch() {
  // Ids go in and ids are counted, on both sides.
  const tokenizer = { encode: () => [], createDecoder: () => ({ push: () => "", flush: () => "" }) };
  const engine = createEngine({ decoder, tokenizer, endOfTextIds: [] });
  const started = performance.now();
  const one = async (prompt) => {
    const ids = [];
    const request = { prompt, maxTokens: job.numTokens + 1, temperature: 0, ignoreEndOfText: true };
    for await (const { id } of engine.add(request)) ids.push(id);
    return ids;
  };
  const all = await Promise.all(job.prompts.map(one));
  return { ms: performance.now() - started, ids: all[0] };
}

const { relaxedSimd, revectorized } = device.features;
const detail = [relaxedSimd ? "relaxed SIMD" : "SIMD", revectorized ? "256-bit" : "128-bit"].join(", ");
serve({ name: "Heddle", detail, loadMs }, { decode, prefill, batch }[job.case]);
