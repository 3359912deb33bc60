// Times prompts of 2048 tokens and steps of 32 sequences in the Llama 3.2 1B shape on the GPU device, weights random:
// `prefill [half|fast] [f16|int8|int4] [times] [timeline] [apart] [--layers N] [--tiny]`. `times` also says which dispatches take the
// time, `timeline` when a prompt is handed over and read; `apart`
// measures f16 a second time with products that are not joined on matrix units.
import { createDecoder } from "@heddle/models";
import { flattenTree, type Tensor } from "@heddle/tensor";
import { dispatchTimes } from "./parts/dispatch-times.ts";
import { type Format, randomWeights, wantedModels } from "./parts/llama-shape.ts";
import { median } from "./parts/median.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";
import { runTimeline } from "./parts/run-timeline.ts";
import { withTilesApart } from "./parts/tiles-apart.ts";

const words = process.argv.slice(2);
const { config, formats, isTiny } = wantedModels(words);
const promptLength = isTiny ? 64 : 2048;
const batch = isTiny ? 4 : 32;
const device = await openDevice(words);
console.log(describeDevice(device));
for (const format of formats) await measure(format);
device.dispose();

async function measure(format: Format): Promise<void> {
  const weights = randomWeights(device, config, format);
  await prompts(format, weights);
  await steps(format, weights);
  if (words.includes("apart") && format === "f16") {
    console.log("products apart:");
    await withTilesApart(device, async () => {
      await prompts(format, weights);
      await steps(format, weights);
    });
  }
  for (const leaf of flattenTree(weights).leaves) (leaf as Partial<Tensor>).dispose?.();
  device.trim();
}

async function prompts(format: Format, weights: ReturnType<typeof randomWeights>): Promise<void> {
  const options = { numSlots: 1, maxSeqLen: promptLength + 64, maxRows: promptLength };
  const decoder = createDecoder({ config, weights, device }, options);
  const indices = Int32Array.from({ length: promptLength }, (_, i) => i);
  const prompt = {
    tokens: indices.map((i) => (i * 31) % config.vocabSize),
    positions: indices,
    slots: new Int32Array(promptLength),
    outputs: Int32Array.of(promptLength - 1),
  };
  const seconds = await secondsOf(async () => {
    const [logits] = await decoder.step(prompt);
    if (!Number.isFinite(logits?.[7] ?? Number.NaN)) throw new Error("the logits are not numbers");
  });
  console.log(
    `${format}: prompt of ${promptLength} tokens ${(seconds * 1000).toFixed(1)} ms, ${(promptLength / seconds).toFixed(0)} tokens/s`,
  );
  if (words.includes("timeline")) {
    for (let i = 0; i < 3; i++) console.log(`  ${await runTimeline(device, () => decoder.step(prompt))}`);
  }
  if (words.includes("times")) {
    const lines = await dispatchTimes(device, () => decoder.step(prompt));
    for (const line of lines.slice(0, 14)) console.log(`  ${line}`);
  }
  decoder.dispose();
}

/** Greedy steps of all sequences at once, each waiting for its tokens. */
async function steps(format: Format, weights: ReturnType<typeof randomWeights>): Promise<void> {
  const context = isTiny ? 8 : 256;
  const decoder = createDecoder(
    { config, weights, device },
    { numSlots: batch, maxSeqLen: context + 64, maxRows: context },
  );
  const indices = Int32Array.from({ length: context }, (_, i) => i);
  for (let slot = 0; slot < batch; slot++) {
    await decoder.step({
      tokens: indices.map((i) => (i * 31 + slot) % config.vocabSize),
      positions: indices,
      slots: new Int32Array(context).fill(slot),
      outputs: Int32Array.of(context - 1),
    });
  }
  const rows = Int32Array.from({ length: batch }, (_, i) => i);
  const step = {
    tokens: rows.map((i) => i + 1),
    positions: new Int32Array(batch).fill(context),
    slots: rows,
    outputs: rows,
  };
  const greedy = Array.from({ length: batch }, () => ({ temperature: 0 }));
  const many = isTiny ? 2 : 8;
  const once = () => (decoder.choose ? decoder.choose(step, greedy) : decoder.step(step));
  const seconds = await secondsOf(async () => {
    for (let i = 0; i < many; i++) await once();
  });
  console.log(
    `${format}: ${batch} sequences ${((seconds / many) * 1000).toFixed(2)} ms a step, ${((batch * many) / seconds).toFixed(0)} tokens/s in all`,
  );
  if (words.includes("times")) {
    for (const line of (await dispatchTimes(device, once)).slice(0, 12)) console.log(`  ${line}`);
  }
  decoder.dispose();
}

/** Median seconds of a run that waits for itself. */
async function secondsOf(run: () => Promise<void>): Promise<number> {
  // The first run compiles kernels. Cards that waited take a while to raise their clocks.
  await run();
  const warm = performance.now() + (isTiny ? 0 : 1500);
  do await run();
  while (performance.now() < warm);
  const seconds: number[] = [];
  for (let round = 0; round < 7; round++) {
    const start = performance.now();
    await run();
    seconds.push((performance.now() - start) / 1000);
  }
  return median(seconds);
}
