/** Probabilities of scores: exp(s - max) / sum. A score of -Infinity gives 0. */
export function softmaxOf(scores: Float64Array): Float64Array {
  const max = maxOf(scores);
  const weights = scores.map((score) => Math.exp(score - max));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** log sum exp(s). */
export function logSumExp(scores: ArrayLike<number>): number {
  const max = maxOf(scores);
  let total = 0;
  for (let id = 0; id < scores.length; id++) total += Math.exp((scores[id] ?? 0) - max);
  return max + Math.log(total);
}

/** -sum p log p, in nats. */
export function entropyOf(probabilities: Float64Array): number {
  return probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
}

export function maxOf(scores: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < scores.length; id++) max = Math.max(max, scores[id] ?? max);
  return max;
}

/** Index of the greatest score, the first one of equals. */
export function argmaxOf(scores: ArrayLike<number>): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if ((scores[id] ?? 0) > (scores[best] ?? 0)) best = id;
  return best;
}

/** Ids of the `count` greatest scores, greatest first; of equals the lower id first. */
export function topIds(scores: ArrayLike<number>, count: number): number[] {
  const ids: number[] = [];
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id] ?? 0;
    const last = ids.at(-1);
    if (ids.length === count && (last === undefined || score <= (scores[last] ?? 0))) continue;
    let at = ids.length;
    while (at > 0 && (scores[ids[at - 1] ?? 0] ?? 0) < score) at--;
    ids.splice(at, 0, id);
    if (ids.length > count) ids.pop();
  }
  return ids;
}
