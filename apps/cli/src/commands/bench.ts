import { createModel, initWeights, type LoadedModel, parseConfig } from "@heddle/models";
import type { Device } from "@heddle/tensor";
import { type Command, Option } from "commander";
import { type DeviceRates, describeRates, measureRates } from "../bench/device-rates.js";
import { measure, type Timing } from "../bench/measure.js";
import { decodeWork, prefillWork, trainingWork, type Work } from "../bench/work.js";
import { openNamedModel } from "../named-model.js";
import {
  addModelOptions,
  addOutputOptions,
  createDevice,
  type ModelOptions,
  type OutputOptions,
  parseCount,
} from "../options.js";
import { createProgress } from "../progress.js";
import type { Terminal } from "../terminal.js";
import { countWeights } from "../training/run-model.js";

const shapes = {
  "4m": { modelDim: 256, ffnDim: 688, numLayers: 6, numHeads: 8, numKvHeads: 4, vocabSize: 2048 },
  "15m": { modelDim: 288, ffnDim: 768, numLayers: 6, numHeads: 6, numKvHeads: 6, vocabSize: 32_000 },
  "110m": { modelDim: 768, ffnDim: 2048, numLayers: 12, numHeads: 12, numKvHeads: 12, vocabSize: 32_000 },
} as const;

interface BenchOptions extends ModelOptions, OutputOptions {
  readonly model?: string;
  readonly shape: keyof typeof shapes;
  readonly only?: Work["name"];
  readonly repeats: number;
  readonly batch: number;
  readonly context: number;
}

export function addBench(program: Command, terminal: Terminal): void {
  const command = program
    .command("bench")
    .description(
      "Measure tokens a second of decoding, prefill and training: median and 95th percentile of each step's time.",
    )
    .option("--model <path>", "measure a Hugging Face model or a GGUF file instead of a synthetic one")
    .addOption(
      new Option("--shape <name>", "a synthetic Llama of about so many weights")
        .choices(Object.keys(shapes))
        .default("4m"),
    )
    .addOption(
      new Option("--only <work>", "measure one kind of work").choices(["decode", "prefill", "training"]),
    )
    .option("--repeats <n>", "steps to measure", parseCount, 20)
    .option("--batch <n>", "sequences that are decoded or trained on at the same time", parseCount, 1)
    .option("--context <n>", "tokens of the prompt, and of a training row", parseCount, 128);
  addOutputOptions(addModelOptions(command)).action(async (options: BenchOptions) => {
    const device = await createDevice(options);
    try {
      const rates = device.kind === "webgpu" ? await measureRates(device) : undefined;
      const model = await openBenchModel(options, { device, terminal });
      const report = {
        model: options.model ?? options.shape,
        weights: countWeights(model.weights),
        device: device.kind,
        threads: device.limits.threads,
        batch: options.batch,
        context: options.context,
        rates,
        results: await measureAll(model, options, terminal),
      };
      await terminal.print(options.json ? `${JSON.stringify(report)}\n` : describe(report));
    } finally {
      device.dispose();
    }
  });
}

async function measureAll(model: LoadedModel, options: BenchOptions, terminal: Terminal): Promise<Timing[]> {
  const { only, repeats, batch, context, progress: isForced = false } = options;
  const works = [decodeWork, prefillWork, trainingWork].filter(
    ({ name }) => only === undefined || name === only,
  );
  const total = works.length * repeats;
  const progress = createProgress(terminal, { format: "bench {bar} {value}/{total} steps", total, isForced });
  const timings: Timing[] = [];
  try {
    for (const work of works) {
      const onStep = (done: number) => progress.update(timings.length * repeats + done);
      timings.push(await measure(work, { model, repeats, batch, context, signal: terminal.signal, onStep }));
    }
    return timings;
  } finally {
    progress.stop();
  }
}

async function openBenchModel(
  { model, shape, context, packedCache }: BenchOptions,
  place: { readonly device: Device; readonly terminal: Terminal },
): Promise<LoadedModel> {
  const { device } = place;
  if (model !== undefined) return (await openNamedModel(model, { ...place, packedCache })).model;
  const { modelDim, ffnDim, numLayers, numHeads, numKvHeads, vocabSize } = shapes[shape];
  const config = parseConfig({
    model_type: "llama",
    vocab_size: vocabSize,
    hidden_size: modelDim,
    intermediate_size: ffnDim,
    num_hidden_layers: numLayers,
    num_attention_heads: numHeads,
    num_key_value_heads: numKvHeads,
    max_position_embeddings: Math.max(2048, 2 * context),
    tie_word_embeddings: true,
  });
  return createModel({ config, device, weights: initWeights(config, device, { seed: 0 }) });
}

function describe(report: {
  readonly model: string;
  readonly weights: number;
  readonly device: string;
  readonly threads: number;
  readonly rates: DeviceRates | undefined;
  readonly results: readonly Timing[];
}): string {
  const head = `${report.model}: ${report.weights} weights, ${report.device} device, ${report.threads} threads\n`;
  const rows = report.results.map(
    ({ name, tokensPerSecond, stepMs, tokensPerStep }) =>
      `${name.padEnd(9)} ${tokensPerSecond.toFixed(1).padStart(10)} tokens/s   step of ${tokensPerStep} tokens: p50 ${stepMs.p50.toFixed(2)} ms, p95 ${stepMs.p95.toFixed(2)} ms\n`,
  );
  return head + (report.rates ? describeRates(report.rates) : "") + rows.join("");
}
