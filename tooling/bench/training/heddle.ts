// One training step of GPT-2 blocks on the CPU device, as `heddle train` runs it: compiled, AdamW, f32.
import { type DecoderConfig, decoderLogits, initWeights, parseConfig } from "@heddle/models";
import { cpu, disposeTree, randomKey, tensor } from "@heddle/tensor";
import { adamW, causalLm, createTrainingStep, type TokenBatch } from "@heddle/train";
import type { TrainingShape } from "./shape.ts";

export interface TrainingContestant {
  readonly detail: string;
  /** Does one step and gives its loss. */
  step(): number;
  dispose(): void;
}

/** Makes a model with random weights and a fixed batch of random tokens. */
export function trainingContestant(
  { modelDim, numLayers, numHeads, seqLen, batchSize, vocabSize }: TrainingShape,
  threads: number,
): TrainingContestant {
  const device = cpu({ threads });
  const config = parseConfig({
    model_type: "gpt2",
    architectures: ["GPT2LMHeadModel"],
    n_embd: modelDim,
    n_layer: numLayers,
    n_head: numHeads,
    n_positions: seqLen,
    vocab_size: vocabSize,
    tie_word_embeddings: true,
  }) as DecoderConfig;
  const weights = initWeights(config, device, { seed: 1 });
  const training = createTrainingStep<typeof weights, TokenBatch>({
    objective: causalLm((tree, ids) => decoderLogits(config, tree, { ids })),
    optimizer: adamW({ weightDecay: 0.01 }),
  });
  const state = training.init(weights);
  const values = Int32Array.from({ length: batchSize * (seqLen + 1) }, (_, i) => (i * 7919) % vocabSize);
  const tokens = tensor(device, values, { shape: [batchSize, seqLen + 1] });
  const learningRate = tensor(device, 1e-4);
  const key = randomKey(device, 1);
  const { relaxedSimd, revectorized } = device.features;
  return {
    detail: [relaxedSimd ? "relaxed SIMD" : "SIMD", revectorized ? "256-bit" : "128-bit"].join(", "),
    step() {
      training.run(state, [{ tokens }], { learningRate, keys: [key] });
      return state.metrics.loss.dataSync()[0] ?? Number.NaN;
    },
    dispose() {
      training.dispose();
      disposeTree([weights, state.optimizer, state.metrics, tokens, learningRate, key]);
      device.dispose();
    },
  };
}
