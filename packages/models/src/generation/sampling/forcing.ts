import type { LogitsProcessor } from "./processors.js";

/** Removes end-of-text tokens while the history is shorter than `length` tokens, prompt included. */
export function minLength(length: number, eosTokenIds: readonly number[]): LogitsProcessor {
  const suppress = suppressTokens(eosTokenIds);
  return (scores, history) => {
    if (history.length < length) suppress(scores, history);
  };
}

/** Removes tokens. */
export function suppressTokens(ids: readonly number[]): LogitsProcessor {
  return (scores) => {
    for (const id of ids) if (id < scores.length) scores[id] = Number.NEGATIVE_INFINITY;
  };
}

/** Leaves one token where the history has `length` tokens, prompt included: the first of an answer, or the last. */
export function forceToken(id: number, options: { readonly length: number }): LogitsProcessor {
  return (scores, history) => {
    if (history.length !== options.length) return;
    scores.fill(Number.NEGATIVE_INFINITY);
    scores[id] = 0;
  };
}
