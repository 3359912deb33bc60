/**
 * What serving itself costs: microseconds of engine and of HTTP streaming for each token, over a decoder that answers
 * at once. That decoder's own time is measured in the same round and shown beside it.
 *
 * Run, after a build of the packages, in this one:
 * `npx tsup bench/overhead.bench.ts --no-config --silent --format esm --out-dir node_modules/.cache/bench &&
 * node node_modules/.cache/bench/overhead.bench.js`
 */
import { cpus, loadavg } from "node:os";
import { performance } from "node:perf_hooks";
import { collect } from "../src/collect.js";
import { createApp } from "../src/http/app.js";
import { listen } from "../src/node/server.js";
import { createFakeDecoder, createFakeEngine, fakeModel } from "../test/fake-model.js";

const maxTokens = 200;
const says = "The cat sat. ";

/** The fake decoder alone: microseconds for each row. */
async function decoderAlone(numSlots: number): Promise<number> {
  const decoder = createFakeDecoder({ numSlots, says });
  const slots = Int32Array.from({ length: numSlots }, (_, slot) => slot);
  const startedAt = performance.now();
  for (let position = 0; position < maxTokens; position++) {
    await decoder.step({ tokens: slots, positions: slots.map(() => position), slots, outputs: slots });
  }
  return ((performance.now() - startedAt) * 1000) / (maxTokens * numSlots);
}

/** Requests to the engine: microseconds for each token. */
async function engineAlone(numSlots: number): Promise<number> {
  const { engine } = createFakeEngine({ numSlots, says });
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: numSlots }, () => collect(engine.add({ prompt: "T", maxTokens, temperature: 0 }))),
  );
  return ((performance.now() - startedAt) * 1000) / (maxTokens * numSlots);
}

/** Streams over sockets, client and server in this process: microseconds for each token. */
async function overHttp(numSlots: number): Promise<number> {
  const { engine } = createFakeEngine({ numSlots, says });
  const server = await listen(createApp({ engine, model: fakeModel }), { port: 0 });
  const body = JSON.stringify({ prompt: "T", max_tokens: maxTokens, stream: true });
  const headers = { "content-type": "application/json" };
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: numSlots }, async () =>
      (await fetch(`${server.url}/v1/completions`, { method: "POST", headers, body })).text(),
    ),
  );
  const micros = ((performance.now() - startedAt) * 1000) / (maxTokens * numSlots);
  await server.close({ timeoutMs: 100 });
  return micros;
}

async function best(measure: () => Promise<number>): Promise<number> {
  const runs: number[] = [];
  for (let i = 0; i < 5; i++) runs.push(await measure());
  return Math.min(...runs);
}

async function main(): Promise<void> {
  console.log(`${cpus()[0]?.model}, load ${loadavg()[0]?.toFixed(1)}; microseconds a token, best of 5`);
  console.log("slots  decoder alone  engine  HTTP stream");
  for (const numSlots of [1, 8, 32]) {
    const micros = [
      await best(() => decoderAlone(numSlots)),
      await best(() => engineAlone(numSlots)),
      await best(() => overHttp(numSlots)),
    ];
    const [decoder, engine, http] = micros.map((value) => value.toFixed(1));
    console.log(`${`${numSlots}`.padEnd(7)}${decoder?.padEnd(15)}${engine?.padEnd(8)}${http}`);
  }
}

void main();
