import type { Architecture } from "../architecture.js";
import type { DecoderConfig } from "../config.js";
import { activationsOf } from "../inspection/inspect.js";
import { buildWeights, type DecoderWeights } from "../weights.js";
import { batchInputs } from "./batch-inputs.js";
import { createDecoder } from "./create-decoder.js";
import { type DecoderInputs, decoderHidden, decoderLogits } from "./decoder.js";
import { decoderCosts } from "./decoder-costs.js";

/** Decoders: embedding, layers of causal attention and feed-forward, unembedding. */
export const decoder: Architecture<DecoderConfig, DecoderWeights, DecoderInputs> = {
  name: "decoder",
  buildWeights,
  forward: ({ config, weights }, inputs) => decoderLogits(config, weights, inputs),
  logits(model, { ids, attentionMask }) {
    const inputs = batchInputs(model, ids, attentionMask);
    try {
      return decoderLogits(model.config, model.weights, inputs);
    } finally {
      inputs.dispose();
    }
  },
  hidden(model, { ids, attentionMask }) {
    const inputs = batchInputs(model, ids, attentionMask);
    try {
      return decoderHidden(model.config, model.weights, inputs).last;
    } finally {
      inputs.dispose();
    }
  },
  inspect(model, { ids, attentionMask }, inspect) {
    const { dispose, ...inputs } = batchInputs(model, ids, attentionMask);
    try {
      return activationsOf(model.device, () =>
        decoderHidden(model.config, model.weights, { ...inputs, inspect }),
      );
    } finally {
      dispose();
    }
  },
  costs: decoderCosts,
  async start(model, promptIds, { maxTokens, numSlots = 1 }) {
    const maxSeqLen = promptIds.length + maxTokens;
    return { decoder: createDecoder(model, { numSlots, maxSeqLen }), ids: promptIds };
  },
};
