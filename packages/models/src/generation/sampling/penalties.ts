import type { LogitsProcessor } from "./processors.js";

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

/**
 * Removes tokens that would repeat a sequence of `size` tokens of the history.
 *
 * @see Paulus et al. 2017, arXiv:1705.04304, section 2.5
 */
export function noRepeatNgram(size: number): LogitsProcessor {
  return (scores, history) => {
    const start = history.length - size + 1;
    if (start < 0) return;
    for (let at = 0; at + size <= history.length; at++) {
      const isSame = matches(history, at, { length: size - 1, start });
      if (isSame) remove(scores, history[at + size - 1]);
    }
  };
}

/** Removes the last token of each given sequence where the history ends with what comes before it. */
export function badWords(words: readonly (readonly number[])[]): LogitsProcessor {
  return (scores, history) => {
    for (const word of words) if (endsWith(history, word.slice(0, -1))) remove(scores, word.at(-1));
  };
}

/** Adds a bias to the last token of each given sequence where the history ends with what comes before it. */
export function sequenceBias(
  biases: readonly (readonly [ids: readonly number[], bias: number])[],
): LogitsProcessor {
  return (scores, history) => {
    for (const [ids, bias] of biases) {
      const last = ids.at(-1) ?? scores.length;
      if (last < scores.length && endsWith(history, ids.slice(0, -1)))
        scores[last] = (scores[last] ?? 0) + bias;
    }
  };
}

/**
 * Raises the scores of end-of-text tokens from the `start`-th generated token on: s + |s| (factor^n - 1), n tokens after it.
 *
 * @param options.promptLength  tokens of the history that were not generated
 */
export function exponentialDecay(options: {
  readonly start: number;
  readonly factor: number;
  readonly eosTokenIds: readonly number[];
  readonly promptLength: number;
}): LogitsProcessor {
  const { start, factor, eosTokenIds, promptLength } = options;
  return (scores, history) => {
    const past = history.length - promptLength - start;
    if (past <= 0) return;
    for (const id of eosTokenIds)
      scores[id] = (scores[id] ?? 0) + Math.abs(scores[id] ?? 0) * (factor ** past - 1);
  };
}

function endsWith(history: ArrayLike<number>, ids: readonly number[]): boolean {
  const from = history.length - ids.length;
  return from >= 0 && ids.every((id, at) => history[from + at] === id);
}

/** Whether `length` ids from `at` on are those from `start` on. */
function matches(
  history: ArrayLike<number>,
  at: number,
  { length, start }: { readonly length: number; readonly start: number },
): boolean {
  for (let i = 0; i < length; i++) if (history[at + i] !== history[start + i]) return false;
  return true;
}

function remove(scores: Float64Array, id: number | undefined): void {
  if (id !== undefined && id < scores.length) scores[id] = Number.NEGATIVE_INFINITY;
}
