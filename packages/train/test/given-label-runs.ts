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
import { type Device, disposeTree, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { expect } from "vitest";
import type { GoldenArrays } from "../../../tooling/golden/safetensors.js";
import { givenLabels, type Objective } from "../src/objective.js";
import { goldenPath, readGolden } from "./golden/read.js";

/** Golden runs whose batches bring their labels: masked tokens, and an encoder-decoder. */
export const givenLabelRuns = ["bert_mlm", "t5_seq2seq"] as const;

/** Everything that a batch of either run holds. */
export interface Batch {
  readonly labels: Tensor;
  readonly input_ids: Tensor;
  readonly attention_mask: Tensor;
  readonly token_type_ids?: Tensor;
  readonly decoder_input_ids?: Tensor;
}

export interface Run {
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

export async function openRun(name: string, device: Device): Promise<Run> {
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

export function batchAt(device: Device, golden: GoldenArrays, at: number): Batch {
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
export async function byStoredName(
  { config }: AnyModel,
  weights: unknown,
): Promise<Record<string, Float64Array>> {
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

/** Compares the gradients of the first batch, on a device, with the golden ones. The device ends with the buffers it began with. */
export async function expectFirstGradients(name: string, device: Device): Promise<void> {
  const before = device.memory().buffers;
  const { model, objective } = await openRun(name, device);
  const batch = batchAt(device, readGolden(`training/${name}/run.safetensors.gz`), 0);
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
  expect(device.memory().buffers).toBe(before);
}
