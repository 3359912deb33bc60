import { crossEntropy, type Tensor } from "@heddle/tensor";

/** A loss before it is averaged: the sum over what counts, and how much that is. Both [], float. */
export interface LossTerms {
  readonly total: Tensor;
  readonly count: Tensor;
}

export interface ObjectiveContext {
  /** u32 [2], another one for each micro-batch: for dropout and other noise. Absent while evaluating, which has none. */
  readonly key?: Tensor;
}

/** What training makes small. Must be traceable: synchronous, tensors in, tensors out. */
export type Objective<Weights, Batch> = (
  weights: Weights,
  batch: Batch,
  context: ObjectiveContext,
) => LossTerms;

/** Token sequences, one a row: column t + 1 is what column t predicts. */
export interface TokenBatch {
  /** [B, T + 1] i32 */
  readonly tokens: Tensor;
  /** [B, T + 1] i32: the tokens, with -100 where a prediction does not count. Default: every token counts. */
  readonly labels?: Tensor;
}

/** A language model as training sees it: ids [B, T] -> logits [B, T, V]. */
export type LanguageModel<Weights> = (weights: Weights, ids: Tensor, context: ObjectiveContext) => Tensor;

/**
 * Makes the objective of a causal language model: negative log-likelihood of each next token, in nats.
 *
 * Tokens [B, T + 1] give T predictions a row; the mean of the terms is Hugging Face's loss with `labels` of length T + 1.
 */
export function causalLm<Weights>(model: LanguageModel<Weights>): Objective<Weights, TokenBatch> {
  return (weights, { tokens, labels }, context) => {
    const length = tokens.shape[1] ?? 0;
    const logits = model(weights, tokens.narrow(1, 0, length - 1), context);
    const targets = (labels ?? tokens).narrow(1, 1, length);
    const total = crossEntropy(logits, targets, { reduction: "sum", ignoreIndex });
    return { total, count: targets.notEqual(ignoreIndex).cast(total.dtype).sum() };
  };
}

/**
 * Makes the objective of a model that is told what to predict where: masked tokens of an encoder, the target of an encoder-decoder.
 *
 * @param model  batch -> logits [.., V], for labels [..] i32 with -100 where a prediction does not count
 */
export function givenLabels<Weights, Batch extends { readonly labels: Tensor }>(
  model: (weights: Weights, batch: Batch, context: ObjectiveContext) => Tensor,
): Objective<Weights, Batch> {
  return (weights, batch, context) => {
    const logits = model(weights, batch, context);
    const total = crossEntropy(logits, batch.labels, { reduction: "sum", ignoreIndex });
    return { total, count: batch.labels.notEqual(ignoreIndex).cast(total.dtype).sum() };
  };
}

const ignoreIndex = -100;
