import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { loadTensors, memorySink, memorySource, openSafetensors } from "@heddle/checkpoints";
import {
  type AnyModel,
  encoder,
  encoderLogits,
  loadModelOf,
  saveModel,
  seq2seq,
  seq2seqLogits,
} from "@heddle/models";
import {
  type Device,
  disposeTree,
  randomKey,
  reference,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import type { GoldenArrays } from "../../../tooling/golden/safetensors.js";
import { devices } from "../test/devices.js";
import { goldenPath, readGolden, readGoldenJson } from "../test/golden/read.js";
import { givenLabels, type Objective } from "./objective.js";
import { adamW } from "./optimizers/adamw.js";
import { createTrainingStep, disposeState } from "./training-step.js";

interface RunJson {
  readonly hyper: {
    readonly steps: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly max_grad_norm: number;
    readonly distinct_batches: number;
  };
  readonly final_weights: Readonly<
    Record<string, { readonly l2: number; readonly first: readonly number[] }>
  >;
}

/** Everything that a batch of either run holds. */
interface Batch {
  readonly labels: Tensor;
  readonly input_ids: Tensor;
  readonly attention_mask: Tensor;
  readonly token_type_ids?: Tensor;
  readonly decoder_input_ids?: Tensor;
}

interface Run {
  readonly model: AnyModel;
  readonly objective: Objective<unknown, Batch>;
}

function source(name: string) {
  const packed = readFileSync(goldenPath(`training/${name}/init/model.safetensors.gz`));
  return memorySource({
    "config.json": new Uint8Array(readFileSync(goldenPath(`training/${name}/init/config.json`))),
    "model.safetensors": new Uint8Array(gunzipSync(packed)),
  });
}

async function openRun(name: string, device: Device): Promise<Run> {
  if (name === "bert_mlm") {
    const model = await loadModelOf(encoder, source(name), { device });
    const objective = givenLabels<typeof model.weights, Batch>((weights, batch) =>
      encoderLogits(model.config, weights, {
        ids: batch.input_ids,
        mask: batch.attention_mask.cast("bool"),
        ...(batch.token_type_ids === undefined ? {} : { typeIds: batch.token_type_ids }),
      }),
    );
    return { model, objective: objective as Objective<unknown, Batch> };
  }
  const model = await loadModelOf(seq2seq, source(name), { device });
  const objective = givenLabels<typeof model.weights, Batch>((weights, batch) =>
    seq2seqLogits(model.config, weights, {
      source: batch.input_ids,
      sourceMask: batch.attention_mask.cast("bool"),
      ids: batch.decoder_input_ids ?? batch.labels,
    }),
  );
  return { model, objective: objective as Objective<unknown, Batch> };
}

function batchAt(device: Device, golden: GoldenArrays, at: number): Batch {
  const names = ["labels", "input_ids", "attention_mask", "token_type_ids", "decoder_input_ids"];
  const entries = names.filter(golden.has).map((name) => {
    const { shape, data } = golden.get(name);
    const size = data.length / (shape[0] ?? 1);
    const part = Int32Array.from(data.subarray(at * size, (at + 1) * size));
    return [name, tensor(device, part, { shape: shape.slice(1) })] as const;
  });
  return Object.fromEntries(entries) as unknown as Batch;
}

/** Weights, or gradients, under the names of the checkpoint. */
async function byStoredName({ config }: AnyModel, weights: unknown): Promise<Record<string, Float64Array>> {
  const sink = memorySink();
  await saveModel(sink, { config, weights });
  const device = reference();
  const tensors = await loadTensors(await openSafetensors(memorySource(sink.files)), { device });
  const entries = Object.entries(tensors).map(
    async ([name, x]) => [name, Float64Array.from(await x.data())] as const,
  );
  const result = Object.fromEntries(await Promise.all(entries));
  disposeTree(tensors);
  return result;
}

describe.each(["bert_mlm", "t5_seq2seq"])("%s", (name) => {
  const golden = readGolden(`training/${name}/run.safetensors.gz`);
  const { hyper, final_weights } = readGoldenJson<RunJson>(`training/${name}/run.json`);

  test.each(devices)("first gradients on %s are the golden ones", async (_, make) => {
    const device = make();
    const { model, objective } = await openRun(name, device);
    const batch = batchAt(device, golden, 0);
    const { value, grad } = valueAndGrad((weights: unknown) => {
      const { total, count } = objective(weights, batch, {});
      return total.div(count);
    })(model.weights);
    const got = await byStoredName(model, grad);
    const wanted = readGolden(`training/${name}/grads_step0.safetensors.gz`);
    expect(Object.keys(got).sort()).toEqual([...wanted.names].sort());
    for (const stored of wanted.names) {
      const worst = Math.max(
        ...Array.from(
          wanted.get(stored).data,
          (value, i) => Math.abs((got[stored]?.[i] ?? Number.NaN) - value) / (1e-4 + 1e-3 * Math.abs(value)),
        ),
      );
      expect(worst, stored).toBeLessThanOrEqual(1);
    }
    disposeTree([value, grad, batch]);
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test.each(devices)("loss curve and final weights on %s", { timeout: 300_000 }, async (_, make) => {
    const device = make();
    const { model, objective } = await openRun(name, device);
    const step = createTrainingStep({
      objective,
      optimizer: adamW({
        betas: hyper.betas,
        eps: hyper.eps,
        weightDecay: hyper.weight_decay,
      }),
      clipNorm: hyper.max_grad_norm,
    });
    const state = step.init(model.weights);
    for (let at = 0; at < hyper.steps; at++) {
      const batch = batchAt(device, golden, at % hyper.distinct_batches);
      const keys = [randomKey(device, 0)];
      const learningRate = tensor(device, golden.get("lr").data[at] ?? 0);
      step.run(state, [batch], { learningRate, keys });
      const lossError = (await state.metrics.loss.item()) - (golden.get("loss").data[at] ?? Number.NaN);
      expect(Math.abs(lossError), `loss of step ${at}`).toBeLessThanOrEqual(1e-4);
      const norm = (await state.metrics.gradNorm.item()) / (golden.get("grad_norm").data[at] ?? Number.NaN);
      expect(Math.abs(norm - 1), `norm ${at}`).toBeLessThanOrEqual(1e-3);
      disposeTree([batch, keys, learningRate]);
    }
    const trained = await byStoredName(model, model.weights);
    for (const [stored, { l2, first }] of Object.entries(final_weights)) {
      const values = trained[stored];
      if (values === undefined) continue; // a tied copy is not stored
      for (const [i, value] of first.entries())
        expect(Math.abs((values[i] ?? Number.NaN) - value), `${stored}[${i}]`).toBeLessThanOrEqual(1e-3);
      const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      expect(Math.abs(length - l2), stored).toBeLessThanOrEqual(1e-3 * Math.max(1, l2));
    }
    expect(Object.keys(final_weights)).toEqual(expect.arrayContaining(Object.keys(trained)));
    disposeState(state);
    step.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
});
