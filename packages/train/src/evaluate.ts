import { compile, type Device, disposeTree, HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import type { HostBatch } from "./data/packed-batches.js";
import type { LossTerms, Objective, TokenBatch } from "./objective.js";

/** How well a model predicts a text. */
export interface Evaluation {
  /** Mean negative log-likelihood of a token, in nats. */
  readonly loss: number;
  /** exp(loss): between how many equally likely tokens the model wavers. */
  readonly perplexity: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
}

export interface Evaluator<Weights> {
  /** Evaluates weights on batches. @throws HeddleError "config" if there is no batch */
  run(weights: Weights, batches: Iterable<HostBatch> | AsyncIterable<HostBatch>): Promise<Evaluation>;
  dispose(): void;
}

/** Makes a compiled evaluation of an objective: without noise. */
export function createEvaluator<Weights>(
  device: Device,
  objective: Objective<Weights, TokenBatch>,
): Evaluator<Weights> {
  const terms = compile((weights: Weights, tokens: Tensor): LossTerms => objective(weights, { tokens }, {}));
  return {
    async run(weights, batches) {
      let loss = 0;
      let tokens = 0;
      for await (const { tokens: ids, rows, columns } of batches) {
        const { total, count } = scope(device, () =>
          terms(weights, tensor(device, ids, { shape: [rows, columns] })),
        );
        loss += await total.item();
        tokens += await count.item();
        disposeTree([total, count]);
      }
      if (tokens === 0) {
        const message =
          "evaluate: there must be a token to predict; got no full row of tokens. Hold out more text, or shorten seqLen.";
        throw new HeddleError("config", message, { tokens });
      }
      return { loss: loss / tokens, perplexity: Math.exp(loss / tokens), tokens };
    },
    dispose: () => terms.dispose(),
  };
}
