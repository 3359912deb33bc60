// Times prompts of 2048 tokens and steps of 32 sequences in the Llama 3.2 1B shape on the GPU device, weights random:
// `prefill [half|fast] [f16|int8|int4] [times] [--layers N] [--tiny]`. `times` also says which dispatches take the time.
import { dawnToggles, webgpu } from "@heddle/gpu";
import { createDecoder } from "@heddle/models";
import { flattenTree, type Tensor } from "@heddle/tensor";
import { dispatchTimes } from "./dispatch-times.ts";
import { type Format, llamaConfig, randomWeights } from "./llama-shape.ts";

const words = process.argv.slice(2);
const layersAt = words.indexOf("--layers");
const isTiny = words.includes("--tiny");
const config = llamaConfig({ isTiny, numLayers: layersAt < 0 ? 16 : Number(words[layersAt + 1]) });
const formats = (["f16", "int8", "int4"] as const).filter(
  (format) => words.includes(format) || !words.some((word) => /^(f16|int8|int4)$/.test(word)),
);
const promptLength = isTiny ? 64 : 2048;
const batch = isTiny ? 4 : 32;
const toggles = words.includes("fast")
  ? dawnToggles.fast
  : words.includes("half")
    ? dawnToggles.half
    : undefined;
const device = await webgpu(toggles === undefined ? {} : { toggles });
console.log(device.adapter.vendor, device.adapter.description);
for (const format of formats) await measure(format);
device.dispose();

async function measure(format: Format): Promise<void> {
  const weights = randomWeights(device, config, format);
  await prompts(format, weights);
  await steps(format, weights);
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
  const median = await medianSeconds(async () => {
    const [logits] = await decoder.step(prompt);
    if (!Number.isFinite(logits?.[7] ?? Number.NaN)) throw new Error("the logits are not numbers");
  });
  console.log(
    `${format}: prompt of ${promptLength} tokens ${(median * 1000).toFixed(1)} ms, ${(promptLength / median).toFixed(0)} tokens/s`,
  );
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
  const median = await medianSeconds(async () => {
    for (let i = 0; i < many; i++) await once();
  });
  console.log(
    `${format}: ${batch} sequences ${((median / many) * 1000).toFixed(2)} ms a step, ${((batch * many) / median).toFixed(0)} tokens/s in all`,
  );
  if (words.includes("times")) {
    for (const line of (await dispatchTimes(device, once)).slice(0, 12)) console.log(`  ${line}`);
  }
  decoder.dispose();
}

async function medianSeconds(run: () => Promise<void>): Promise<number> {
  for (let i = 0; i < 3; i++) await run();
  const seconds: number[] = [];
  for (let round = 0; round < 7; round++) {
    const start = performance.now();
    await run();
    seconds.push((performance.now() - start) / 1000);
  }
  return seconds.sort((x, y) => x - y)[3] ?? Number.NaN;
}
