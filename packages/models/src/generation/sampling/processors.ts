import { logSumExp } from "./scores.js";

/**
 * One step from logits to the distribution that is drawn from: changes `scores` in place; -Infinity removes a token.
 *
 * @param history  ids so far, prompt included
 */
export type LogitsProcessor = (scores: Float64Array, history: ArrayLike<number>) => void;

/** Does one processor after the other. */
export function chain(...processors: readonly LogitsProcessor[]): LogitsProcessor {
  return (scores, history) => {
    for (const process of processors) process(scores, history);
  };
}

/** Divides scores by the temperature: below 1 sharper, above 1 flatter. */
export function temperature(value: number): LogitsProcessor {
  return (scores) => {
    for (let id = 0; id < scores.length; id++) scores[id] = (scores[id] ?? 0) / value;
  };
}

/** Turns scores into log-probabilities. */
export function normalizeScores(): LogitsProcessor {
  return (scores) => {
    const total = logSumExp(scores);
    for (let id = 0; id < scores.length; id++) scores[id] = (scores[id] ?? 0) - total;
  };
}
