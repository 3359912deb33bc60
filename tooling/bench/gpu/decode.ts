// Times whole models of random weights in the Llama 3.2 1B shape on the GPU device: `decode [half|fast] [joined] [f16|int8|int4]
// [batch] [times] [profile] [memory] [--layers N]`. Decoding goes on by itself on the device; the lines give tokens a second, dispatches and
// milliseconds of this process a token, and the limit that reading the weights once sets at the rate of a copy in the same run.
// `times` says which dispatches take the time, `profile` what the thread of JavaScript does,
// `memory` what 10,000 tokens leave behind. `--tiny` takes a small model instead.
import { createDecoder, type DecoderWeights } from "@heddle/models";
import { flattenTree, type Tensor } from "@heddle/tensor";
import { countDispatches } from "../../../packages/gpu/test/count-dispatches.ts";
import { copyRate } from "./parts/copy-rate.ts";
import { dispatchTimes } from "./parts/dispatch-times.ts";
import { type Format, randomWeights, wantedModels } from "./parts/llama-shape.ts";
import { median } from "./parts/median.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";
import { submissionTimes } from "./parts/submission-times.ts";
import { threadProfile } from "./parts/thread-profile.ts";

const words = process.argv.slice(2);
const { config, formats, isTiny } = wantedModels(words);
const device = await openDevice(words);
console.log(describeDevice(device));
const bytesPerSecond = await copyRate(device, isTiny ? 2 ** 20 : 2 ** 29);
console.log(`copy: ${(bytesPerSecond / 1e9).toFixed(0)} GB/s read and written`);
for (const format of formats) await measure(format);
device.dispose();

async function measure(format: Format): Promise<void> {
  const weights = randomWeights(device, config, format);
  const bytes = flattenTree(weights).leaves.reduce<number>(
    (sum, leaf) => sum + ((leaf as Partial<Tensor>).byteLength ?? 0),
    0,
  );
  const decoder = createDecoder({ config, weights, device }, { numSlots: 1, maxSeqLen: 1024, maxRows: 256 });
  const prompt = 256;
  console.log(`${format}: ${(bytes / 1e9).toFixed(2)} GB of weights are there`);
  await decoder.step({
    tokens: Int32Array.from({ length: prompt }, (_, i) => (i * 31) % config.vocabSize),
    positions: Int32Array.from({ length: prompt }, (_, i) => i),
    slots: new Int32Array(prompt),
    outputs: Int32Array.of(prompt - 1),
  });
  console.log(`${format}: a prompt of ${prompt} tokens is read`);
  const steps = isTiny ? 8 : 128;
  const rates: number[] = [];
  let [dispatches, busyMs] = [0, 0];
  const decode = async (count: number) => {
    const tokens = decoder.ahead?.({ slot: 0, token: 1, position: prompt, steps: count, temperature: 0 });
    if (tokens === undefined) throw new Error("the device has no ahead()");
    let sum = 0;
    for await (const { id } of tokens) sum = (Math.imul(sum, 31) + id) >>> 0;
    return sum;
  };
  // Cards that waited take a while to raise their clocks.
  const warm = performance.now() + (isTiny ? 0 : 1000);
  do await decode(steps);
  while (performance.now() < warm);
  for (let round = -1; round < 5; round++) {
    // Counting costs time itself: the first round counts, the others are timed.
    const counter = round < 0 ? countDispatches(device) : undefined;
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    await decode(steps);
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    if (counter !== undefined) {
      dispatches = counter.stop() / steps;
      continue;
    }
    rates.push(steps / seconds);
    busyMs = (user + system) / 1000 / steps;
  }
  const rate = median(rates);
  const limit = bytesPerSecond / bytes;
  // Random weights choose the same tokens in every process, however steps are made up.
  console.log(`${format}: tokens ${(await decode(isTiny ? 64 : 512)).toString(16)}`);
  console.log(
    `${format}: decode ${rate.toFixed(0)} tokens/s of at most ${limit.toFixed(0)} (${(bytes / 1e9).toFixed(2)} GB), ${dispatches.toFixed(0)} dispatches and ${busyMs.toFixed(2)} ms of this process a token`,
  );
  if (words.includes("memory")) {
    const before = device.memory();
    for (let i = 0; i < 20; i++) await decode(500);
    const after = device.memory();
    console.log(
      `${format}: 10,000 tokens took ${before.bytes} bytes in ${before.buffers} buffers to ${after.bytes} in ${after.buffers}`,
    );
  }
  if (words.includes("profile")) {
    const profiled = isTiny ? 8 : 512;
    const { recording, submitting } = await submissionTimes(
      device,
      async () => void (await decode(profiled)),
    );
    console.log(
      `${format}: ${(recording / profiled).toFixed(3)} ms of recording and ${(submitting / profiled).toFixed(3)} ms of handing over a token`,
    );
    for (const line of (await threadProfile(async () => void (await decode(profiled)), profiled)).slice(
      0,
      16,
    ))
      console.log(`  ${line}`);
  }
  if (words.includes("times")) {
    const counted = isTiny ? 2 : 8;
    const lines = await dispatchTimes(device, () => decode(counted));
    console.log(`  of ${counted} tokens:`);
    for (const line of lines.slice(0, 14)) console.log(`  ${line}`);
  }
  decoder.dispose();
  if (words.includes("batch")) await measureBatch(format, weights);
  for (const leaf of flattenTree(weights).leaves) (leaf as Partial<Tensor>).dispose?.();
  device.trim();
}

/** Tokens a second of 32 sequences that go on together; each step is waited for. */
async function measureBatch(format: Format, weights: DecoderWeights): Promise<void> {
  const rows = 32;
  const decoder = createDecoder({ config, weights, device }, { numSlots: rows, maxSeqLen: 512 });
  const numbers = (value: number) => new Int32Array(rows).fill(value);
  const each = Int32Array.from({ length: rows }, (_, i) => i);
  const choices = Array.from({ length: rows }, () => ({ temperature: 0 }));
  const times: number[] = [];
  let dispatches = 0;
  for (let step = 0; step < 192; step++) {
    const counter = step === 0 ? countDispatches(device) : undefined;
    const start = performance.now();
    await decoder.choose?.(
      { tokens: each, positions: numbers(256 + (step % 64)), slots: each, outputs: each },
      choices,
    );
    times.push(performance.now() - start);
    dispatches = counter?.stop() ?? dispatches;
  }
  const ms = median(times.slice(128));
  console.log(
    `${format}: ${rows} sequences ${((rows * 1000) / ms).toFixed(0)} tokens/s in all, ${ms.toFixed(2)} ms and ${dispatches} dispatches a step`,
  );
  decoder.dispose();
}
