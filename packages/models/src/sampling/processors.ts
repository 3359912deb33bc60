import { maxOf, softmaxOf, topIds } from "./scores.js";

/**
 * One step from logits to the distribution that is drawn from: changes `scores` in place; -Infinity removes a token.
 *
 * @param history  ids so far, prompt included
 */
export type LogitsProcessor = (scores: Float64Array, history: ArrayLike<number>) => void;

interface KeepOptions {
  /** Never leave fewer tokens than this. Default 1. */
  readonly minTokensToKeep?: number;
}

/** Divides scores by the temperature: below 1 sharper, above 1 flatter. */
export function temperature(value: number): LogitsProcessor {
  return (scores) => {
    for (let id = 0; id < scores.length; id++) scores[id] = (scores[id] ?? 0) / value;
  };
}

/** Keeps the `k` greatest scores, and those equal to the k-th. @see Fan et al. 2018, arXiv:1805.04833 */
export function topK(k: number): LogitsProcessor {
  return (scores) => {
    const last = topIds(scores, Math.min(k, scores.length)).at(-1) ?? 0;
    removeBelow(scores, scores[last] ?? Number.NEGATIVE_INFINITY);
  };
}

/**
 * Keeps the smallest set of most likely tokens whose probability reaches `p`.
 *
 * @see Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751
 */
export function topP(p: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => {
    const probabilities = softmaxOf(scores);
    // From the least likely up, tokens go while their sum is at most 1 - p. Those below (1 - p) / V are sure to go:
    // together they cannot pass the limit, so only the others need sorting.
    const limit = 1 - p;
    const sure = limit / scores.length;
    const rest: number[] = [];
    let removed = 0;
    for (const [id, probability] of probabilities.entries()) {
      if (probability < sure) removed += probability;
      else rest.push(id);
    }
    rest.sort((a, b) => (probabilities[a] ?? 0) - (probabilities[b] ?? 0));
    const kept = new Set<number>();
    for (const id of rest) {
      removed += probabilities[id] ?? 0;
      if (removed > limit) kept.add(id);
    }
    for (const id of topIds(scores, minTokensToKeep)) kept.add(id);
    for (let id = 0; id < scores.length; id++) if (!kept.has(id)) scores[id] = Number.NEGATIVE_INFINITY;
  };
}

/**
 * Keeps tokens at least `p` times as likely as the most likely one.
 *
 * @see Nguyen et al. 2024, "Min-p sampling", arXiv:2407.01082
 */
export function minP(p: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => {
    const least = topIds(scores, Math.min(minTokensToKeep, scores.length)).at(-1) ?? 0;
    const threshold = maxOf(scores) + Math.log(p);
    removeBelow(scores, Math.min(threshold, scores[least] ?? threshold));
  };
}

/**
 * Divides positive scores of tokens in the history by `penalty` and multiplies negative ones: above 1 discourages.
 *
 * @see Keskar et al. 2019, CTRL, arXiv:1909.05858, section 4.1
 */
export function repetitionPenalty(penalty: number): LogitsProcessor {
  return (scores, history) => {
    for (const id of new Set(Array.from(history))) {
      const score = scores[id] ?? 0;
      if (id < scores.length) scores[id] = score < 0 ? score * penalty : score / penalty;
    }
  };
}

/** Subtracts `penalty` for every time a token occurs in the history, as OpenAI's API describes it. */
export function frequencyPenalty(penalty: number): LogitsProcessor {
  return (scores, history) => {
    for (let at = 0; at < history.length; at++) {
      const id = history[at] ?? 0;
      if (id < scores.length) scores[id] = (scores[id] ?? 0) - penalty;
    }
  };
}

/** Subtracts `penalty` once from every token in the history, as OpenAI's API describes it. */
export function presencePenalty(penalty: number): LogitsProcessor {
  return (scores, history) => {
    for (const id of new Set(Array.from(history))) {
      if (id < scores.length) scores[id] = (scores[id] ?? 0) - penalty;
    }
  };
}

function removeBelow(scores: Float64Array, threshold: number): void {
  for (let id = 0; id < scores.length; id++) {
    if ((scores[id] ?? 0) < threshold) scores[id] = Number.NEGATIVE_INFINITY;
  }
}
