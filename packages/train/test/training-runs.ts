import { openSafetensors } from "@heddle/checkpoints";
import { directorySource } from "@heddle/checkpoints/node";
import { type DecoderConfig, type DecoderWeights, decoderLogits, loadWeights } from "@heddle/models";
import { openModel } from "@heddle/models/node";
import {
  type Device,
  disposeTree,
  flattenTree,
  randomKey,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { causalLm, type TokenBatch } from "../src/objective.js";
import { adamW } from "../src/optimizers/adamw.js";
import { scheduleFactor } from "../src/schedules.js";
import { createTrainingStep, disposeState, type TrainingStepOptions } from "../src/training-step.js";
import { goldenPath, readGolden, readGoldenJson } from "./golden/read.js";

interface RunJson {
  readonly hyper: {
    readonly steps: number;
    readonly lr: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly warmup_steps: number;
    readonly max_grad_norm: number;
  };
  readonly final_weights: Record<string, { readonly sum: number; readonly l2: number }>;
}

/** The golden weights of a file, as a tree of the model's form. */
async function goldenTree(device: Device, config: DecoderConfig, file: string): Promise<DecoderWeights> {
  const [folder = "", name = ""] = [
    file.slice(0, file.lastIndexOf("/")),
    file.slice(file.lastIndexOf("/") + 1),
  ];
  const files = await openSafetensors(directorySource(goldenPath(folder)), { base: name });
  return loadWeights(config, files, { device });
}

async function expectTreesClose(
  got: unknown,
  wanted: unknown,
  { abs, rel }: { readonly abs: number; readonly rel: number },
): Promise<void> {
  const expected = flattenTree<Tensor, unknown>(wanted);
  const ours = flattenTree<Tensor, unknown>(got);
  expect(ours.paths).toEqual(expected.paths);
  for (const [at, path] of expected.paths.entries()) {
    const values = (await ours.leaves[at]?.data()) ?? [];
    const worst = Math.max(
      ...Array.from(
        (await expected.leaves[at]?.data()) ?? [],
        (value, i) => Math.abs((values[i] ?? Number.NaN) - value) / (abs + rel * Math.abs(value)),
      ),
    );
    expect(worst, path).toBeLessThanOrEqual(1);
  }
}

/** Trains on a run's golden batches and compares every step. */
async function follow(device: Device, run: string, isCompiled: boolean): Promise<void> {
  const before = device.memory().buffers;
  const { hyper } = readGoldenJson<RunJson>(`training/${run}/run.json`);
  const golden = readGolden(`training/${run}/run.safetensors`);
  const family = run.split("_")[0] ?? "";
  const model = await openModel(goldenPath(`training/${family}/init`), { device });
  const microBatches = golden.names.includes("labels") ? 4 : 1;
  const options: TrainingStepOptions<DecoderWeights, TokenBatch> = {
    objective: causalLm((weights, ids) => decoderLogits(model.config, weights, { ids })),
    optimizer: adamW({ betas: hyper.betas, eps: hyper.eps, weightDecay: hyper.weight_decay }),
    clipNorm: hyper.max_grad_norm,
    microBatches,
    weighting: run.endsWith("_mean") ? "micro-batches" : "tokens",
    isCompiled,
  };
  const step = createTrainingStep(options);
  const state = step.init(model.weights);
  const { data, shape } = golden.get("input_ids");
  const [rows = 1, columns = 1] = shape.slice(-2);
  const block = (array: ArrayLike<number>, at: number) =>
    tensor(
      device,
      Int32Array.from({ length: rows * columns }, (_, i) => array[at * rows * columns + i] ?? 0),
      {
        shape: [rows, columns],
      },
    );
  for (let at = 0; at < hyper.steps; at++) {
    const factor = scheduleFactor(
      { kind: "cosine", warmupSteps: hyper.warmup_steps, totalSteps: hyper.steps },
      at,
    );
    expect(hyper.lr * factor).toBeCloseTo(golden.get("lr").data[at] ?? Number.NaN, 12);
    const batches = Array.from({ length: microBatches }, (_, micro): TokenBatch => {
      const tokens = block(data, at * microBatches + micro);
      return microBatches === 1
        ? { tokens }
        : { tokens, labels: block(golden.get("labels").data, at * microBatches + micro) };
    });
    const keys = batches.map(() => randomKey(device, 0));
    const learningRate = tensor(device, hyper.lr * factor);
    const { allocations } = device.memory();
    step.run(state, batches, { learningRate, keys });
    if (isCompiled && at > 0) expect(device.memory().allocations).toBe(allocations);
    const wantedLoss = golden.get("loss").data[at] ?? Number.NaN;
    const wantedNorm = golden.get("grad_norm").data[at] ?? Number.NaN;
    expect(
      Math.abs((await state.metrics.loss.item()) - wantedLoss),
      `loss of step ${at}`,
    ).toBeLessThanOrEqual(1e-4);
    expect(
      Math.abs((await state.metrics.gradNorm.item()) / wantedNorm - 1),
      `norm ${at}`,
    ).toBeLessThanOrEqual(1e-3);
    disposeTree([batches, keys, learningRate]);
  }
  if (microBatches === 1) {
    const final = family === "llama" ? "eval/ppl_model/model" : `training/${family}/final`;
    const wanted = await goldenTree(device, model.config, final);
    await expectTreesClose(model.weights, wanted, { abs: 1e-3, rel: 0 });
    disposeTree(wanted);
  }
  disposeState(state);
  step.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(before);
}

/** Gradients and loss curves of the golden runs, on a device that `use` gives for the time of a test. */
export function describeTrainingRuns(
  deviceName: string,
  use: (run: (device: Device) => Promise<void>) => Promise<void>,
  { modes = ["compiled", "eager"] }: { readonly modes?: readonly ("compiled" | "eager")[] } = {},
): void {
  test.each(["llama", "gpt2"])(`first gradients of %s on ${deviceName} are the golden ones`, (family) =>
    use(async (device) => {
      const model = await openModel(goldenPath(`training/${family}/init`), { device });
      const objective = causalLm<DecoderWeights>((weights, ids) =>
        decoderLogits(model.config, weights, { ids }),
      );
      const { data } = readGolden(`training/${family}/run.safetensors`).get("input_ids");
      const tokens = tensor(device, Int32Array.from(data.subarray(0, 4 * 16)), { shape: [4, 16] });
      const { value, grad } = valueAndGrad((weights: DecoderWeights) => {
        const { total, count } = objective(weights, { tokens }, { key: tokens });
        return total.div(count);
      })(model.weights);
      const wanted = await goldenTree(device, model.config, `training/${family}/grads_step0`);
      await expectTreesClose(grad, wanted, { abs: 1e-4, rel: 1e-3 });
      disposeTree([value, grad, wanted, tokens]);
      model.dispose();
    }),
  );

  describe.each(["llama", "gpt2"])(`%s on ${deviceName}`, (family) => {
    test.each(
      ["", "_accum4_mean", "_accum4_token"].flatMap((suffix) => modes.map((mode) => [suffix, mode] as const)),
    )("loss curve%s, %s", { timeout: 300_000 }, (suffix, mode) =>
      use((device) => follow(device, family + suffix, mode === "compiled")),
    );
  });
}
