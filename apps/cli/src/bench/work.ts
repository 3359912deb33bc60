import { createDecoder, decoderLogits, type LoadedModel } from "@heddle/models";
import { disposeTree, randomKey, tensor } from "@heddle/tensor";
import { adamW, causalLm, createTrainingStep, disposeState } from "@heddle/train";

export interface WorkSize {
  readonly batch: number;
  readonly context: number;
}

/** Work that is done again and again: what is measured. */
export interface RunningWork {
  readonly tokensPerStep: number;
  /** Does one step and waits for it. */
  step(): Promise<void>;
  dispose(): void;
}

export interface Work {
  readonly name: "decode" | "prefill" | "training";
  start(model: LoadedModel, size: WorkSize): Promise<RunningWork>;
}

/** One token for each of `batch` sequences that hold `context` tokens already. */
export const decodeWork: Work = {
  name: "decode",
  async start(model, { batch, context }) {
    const { maxSeqLen } = model.config;
    const decoder = createDecoder(model, { numSlots: batch, maxSeqLen: Math.min(maxSeqLen, 2 * context) });
    const slots = Int32Array.from({ length: batch }, (_, slot) => slot);
    for (let slot = 0; slot < batch; slot++) await prefill(decoder, { slot, context });
    let position = context;
    return {
      tokensPerStep: batch,
      step: async () => {
        await decoder.step({
          tokens: new Int32Array(batch).fill(1),
          positions: new Int32Array(batch).fill(position),
          slots,
          outputs: slots,
        });
        // Start over from the prompt's end when the cache is full.
        position = position + 1 < decoder.maxSeqLen ? position + 1 : context;
      },
      dispose: () => decoder.dispose(),
    };
  },
};

/** A prompt of `context` tokens, `batch` times. */
export const prefillWork: Work = {
  name: "prefill",
  async start(model, { batch, context }) {
    const decoder = createDecoder(model, { numSlots: batch, maxSeqLen: context });
    return {
      tokensPerStep: batch * context,
      step: async () => {
        for (let slot = 0; slot < batch; slot++) await prefill(decoder, { slot, context });
      },
      dispose: () => decoder.dispose(),
    };
  },
};

/** A step of AdamW on `batch` rows of `context` tokens. */
export const trainingWork: Work = {
  name: "training",
  async start(model, { batch, context }) {
    const { device, config } = model;
    const training = createTrainingStep({
      objective: causalLm((weights: LoadedModel["weights"], ids) => decoderLogits(config, weights, { ids })),
      optimizer: adamW(),
      clipNorm: 1,
    });
    const state = training.init(model.weights);
    const columns = context + 1;
    const ids = Int32Array.from({ length: batch * columns }, (_, at) => (at * 7919) % config.vocabSize);
    // A rate of 0 keeps the weights, so that a named model can be measured without being changed.
    const inputs = {
      batch: { tokens: tensor(device, ids, { shape: [batch, columns] }) },
      learningRate: tensor(device, 0),
      key: randomKey(device, 0),
    };
    return {
      tokensPerStep: batch * context,
      step: async () => {
        training.run(state, [inputs.batch], { learningRate: inputs.learningRate, keys: [inputs.key] });
        await state.metrics.loss.item();
      },
      dispose: () => {
        disposeTree(inputs);
        disposeState(state);
        training.dispose();
      },
    };
  },
};

async function prefill(
  decoder: ReturnType<typeof createDecoder>,
  { slot, context }: { readonly slot: number; readonly context: number },
): Promise<void> {
  await decoder.step({
    tokens: Int32Array.from({ length: context }, (_, at) => (at * 31) % decoder.vocabSize),
    positions: Int32Array.from({ length: context }, (_, at) => at),
    slots: new Int32Array(context).fill(slot),
    outputs: Int32Array.of(context - 1),
  });
}
