import { decoderLogits } from "@heddle/models";
import { type Device, disposeTree } from "@heddle/tensor";
import {
  adamW,
  causalLm,
  decayMatrices,
  type Optimizer,
  type Schedule,
  sgd,
  type TrainingEvent,
  type TrainingResult,
  train,
} from "@heddle/train";
import type { ResolvedConfig } from "./read-config.js";
import { heldOutBatches, openRunTexts, trainingBatches, trainingTexts } from "./run-data.js";
import { openRunFolder, type RunFolder } from "./run-folder.js";
import { countWeights, exportRunModel, openRunModel, type RunModel } from "./run-model.js";
import { openRunTokenizer, type RunTokenizer, trainRunTokenizer } from "./run-tokenizer.js";

/** What a run tells: the phases before training, and the events of training. */
export type RunEvent =
  | {
      readonly kind: "tokenizer";
      readonly phase: "count" | "merge";
      readonly done: number;
      readonly total: number | null;
    }
  | {
      readonly kind: "ready";
      readonly weights: number;
      readonly vocabSize: number;
      readonly resumedAt: number;
    }
  | TrainingEvent
  | { readonly kind: "exported"; readonly path: string };

export interface RunOptions {
  readonly device: Device;
  readonly isResumed: boolean;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal: AbortSignal;
}

/** Does a whole run: tokenizer, model, training with checkpoints and evaluation, loss curve, export. */
export async function runTraining(config: ResolvedConfig, options: RunOptions): Promise<TrainingResult> {
  const { device, isResumed, onEvent } = options;
  const folder = await openRunFolder(config, isResumed);
  const tokenizer = await prepareTokenizer(config, folder, options);
  const model = await openRunModel(config, tokenizer, device);
  try {
    const { vocabSize } = model.config;
    onEvent({
      kind: "ready",
      weights: countWeights(model.weights),
      vocabSize,
      resumedAt: folder.resume?.step ?? 0,
    });
    const result = await trainModel(config, { folder, tokenizer, model, ...options }).finally(() =>
      folder.log.draw(folder.lossCurvePath, { title: "Loss while training" }),
    );
    await exportRunModel(folder.modelPath, model, { dtype: config.export.dtype, tokenizer });
    onEvent({ kind: "exported", path: folder.modelPath });
    return result;
  } finally {
    disposeTree(model.weights);
  }
}

async function prepareTokenizer(
  config: ResolvedConfig,
  folder: RunFolder,
  { onEvent, signal }: RunOptions,
): Promise<RunTokenizer> {
  if (config.tokenizer.train === undefined)
    return openRunTokenizer(config.tokenizer.from ?? config.model.from ?? "", config);
  if (folder.resume !== undefined) return openRunTokenizer(folder.tokenizerPath, config);
  return trainRunTokenizer(trainingTexts(openRunTexts(config)), config, {
    path: folder.tokenizerPath,
    onProgress: (progress) => onEvent({ kind: "tokenizer", ...progress }),
    signal,
  });
}

interface TrainingParts extends RunOptions {
  readonly folder: RunFolder;
  readonly tokenizer: RunTokenizer;
  readonly model: RunModel;
}

function trainModel(config: ResolvedConfig, parts: TrainingParts): Promise<TrainingResult> {
  const { folder, tokenizer, model, signal, onEvent } = parts;
  const texts = openRunTexts(config);
  return train({
    weights: model.weights,
    objective: causalLm((weights: RunModel["weights"], ids, { key }) =>
      decoderLogits(model.config, weights, {
        ids,
        ...(key === undefined ? {} : { dropout: { rate: config.dropout, key } }),
      }),
    ),
    optimizer: createOptimizer(config),
    data: trainingBatches(texts, config, tokenizer),
    steps: config.steps,
    learningRate: config.learningRate,
    schedule: { totalSteps: config.steps, ...config.schedule } as Schedule,
    ...(config.clipNorm === undefined ? {} : { clipNorm: config.clipNorm }),
    microBatches: config.batch.microBatches,
    weighting: config.batch.weighting,
    seed: config.seed,
    logEvery: config.logEvery,
    ...(config.text.heldOut > 0 || config.text.heldOutFiles.length > 0
      ? {
          evaluation: {
            every: config.evaluate.every,
            objective: causalLm((weights: RunModel["weights"], ids) =>
              decoderLogits(model.config, weights, { ids }),
            ),
            batches: () => heldOutBatches(texts, config, tokenizer),
          },
        }
      : {}),
    checkpoints: { every: config.checkpoints.every, save: folder.checkpoints.save },
    ...(folder.resume === undefined ? {} : { resume: folder.resume }),
    onEvent: (event) => {
      folder.log.write(event);
      onEvent(event);
    },
    signal,
  });
}

function createOptimizer({ optimizer }: ResolvedConfig): Optimizer {
  switch (optimizer.kind) {
    case "adamw": {
      const { betas, eps, weightDecay, decays } = optimizer;
      return adamW({
        betas,
        eps,
        weightDecay,
        ...(decays === "matrices" ? { decays: decayMatrices } : {}),
      });
    }
    case "sgd": {
      const { kind: _, ...options } = optimizer;
      return sgd(options);
    }
    default:
      return optimizer satisfies never;
  }
}
