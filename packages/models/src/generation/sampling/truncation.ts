import type { LogitsProcessor } from "./processors.js";
import { entropyOf, maxOf, softmaxOf, topIds } from "./scores.js";

interface KeepOptions {
  /** Never leave fewer tokens than this. Default 1. */
  readonly minTokensToKeep?: number;
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
    // Of equals the last ones stay, also where fewer than all of the greatest do.
    const isEnough = minTokensToKeep <= rest.length;
    const kept = new Set(
      isEnough ? rest.slice(rest.length - minTokensToKeep) : topIds(scores, minTokensToKeep),
    );
    for (const id of rest) {
      removed += probabilities[id] ?? 0;
      if (removed > limit) kept.add(id);
    }
    removeAllBut(scores, kept);
  };
}

/**
 * Keeps tokens at least `p` times as likely as the most likely one.
 *
 * @see Nguyen et al. 2024, "Min-p sampling", arXiv:2407.01082
 */
export function minP(p: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => keepFrom(scores, maxOf(scores) + Math.log(p), minTokensToKeep);
}

/**
 * Keeps the tokens whose surprise is nearest to the expected one, until their probability reaches `mass`.
 *
 * @see Meister et al. 2022, "Locally Typical Sampling", arXiv:2202.00666
 */
export function typical(mass: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => {
    const probabilities = softmaxOf(scores);
    const entropy = entropyOf(probabilities);
    const oddness = probabilities.map((p) => Math.abs(-Math.log(p) - entropy));
    const order = Array.from(oddness.keys()).sort((a, b) => (oddness[a] ?? 0) - (oddness[b] ?? 0));
    let sum = 0;
    const numKept = order.findIndex((id) => {
      sum += probabilities[id] ?? 0;
      return sum >= mass;
    });
    // Tokens as odd as the last one stay too.
    const last = order[numKept < 0 ? order.length - 1 : numKept] ?? 0;
    const kept = order.filter((id) => (oddness[id] ?? 0) <= (oddness[last] ?? 0));
    removeAllBut(scores, new Set([...kept, ...order.slice(0, minTokensToKeep)]));
  };
}

/** Keeps tokens of probability `epsilon` or more. @see Hewitt et al. 2022, arXiv:2210.15191, section 4 */
export function epsilonCutoff(epsilon: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => {
    const probabilities = softmaxOf(scores);
    removeUnlikely(scores, probabilities, { threshold: epsilon, minTokensToKeep });
  };
}

/**
 * Keeps tokens of probability min(epsilon, sqrt(epsilon) e^-H) or more, H being the entropy.
 *
 * @see Hewitt et al. 2022, "Truncation Sampling as Language Model Desmoothing", arXiv:2210.15191, section 4
 */
export function etaCutoff(epsilon: number, { minTokensToKeep = 1 }: KeepOptions = {}): LogitsProcessor {
  return (scores) => {
    const probabilities = softmaxOf(scores);
    const threshold = Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropyOf(probabilities)));
    removeUnlikely(scores, probabilities, { threshold, minTokensToKeep });
  };
}

/**
 * Keeps scores at most `n` standard deviations below the greatest; the same at every temperature.
 *
 * @see Tang et al. 2024, "Top-n-sigma", arXiv:2411.07641. The deviation is that of a sample (n - 1), as torch computes it
 */
export function topNSigma(n: number): LogitsProcessor {
  return (scores) => {
    const finite = scores.filter(Number.isFinite);
    const mean = finite.reduce((sum, score) => sum + score, 0) / finite.length;
    const squares = finite.reduce((sum, score) => sum + (score - mean) ** 2, 0);
    removeBelow(scores, maxOf(scores) - n * Math.sqrt(squares / Math.max(1, finite.length - 1)));
  };
}

/**
 * Keeps the most likely tokens (of the first 100) while their part of the entropy is at most `share` of the whole.
 *
 * @see Potraghloo et al. 2025, "Top-H Decoding", arXiv:2509.02510
 */
export function topH(share: number): LogitsProcessor {
  return (scores) => {
    const ids = topIds(scores, Math.min(100, scores.length));
    const probabilities = softmaxOf(Float64Array.from(ids, (id) => scores[id] ?? 0));
    const limit = share * entropyOf(probabilities);
    let sum = 0;
    const kept = ids.filter((_, at) => {
      const p = probabilities[at] ?? 0;
      sum -= p > 0 ? p * Math.log(p) : 0;
      return at === 0 || sum <= limit;
    });
    removeAllBut(scores, new Set(kept));
  };
}

/**
 * "Exclude top choices": with `probability`, removes every token of at least `threshold` but the least likely of them.
 *
 * @param options.random  a number in [0, 1) for each call, so that the caller owns the seed
 * @see Weidmann 2024, text-generation-webui pull request 6335
 */
export function excludeTopChoices(options: {
  readonly threshold: number;
  readonly probability: number;
  random(): number;
}): LogitsProcessor {
  const { threshold, probability, random } = options;
  return (scores) => {
    if (random() >= probability) return;
    const probabilities = softmaxOf(scores);
    const top = Array.from(probabilities.keys()).filter((id) => (probabilities[id] ?? 0) >= threshold);
    if (top.length < 2) return;
    const least = top.reduce((a, b) => ((probabilities[b] ?? 0) < (probabilities[a] ?? 0) ? b : a));
    for (const id of top) if (id !== least) scores[id] = Number.NEGATIVE_INFINITY;
  };
}

function removeUnlikely(
  scores: Float64Array,
  probabilities: Float64Array,
  { threshold, minTokensToKeep }: { readonly threshold: number; readonly minTokensToKeep: number },
): void {
  const kept = new Set(topIds(scores, minTokensToKeep));
  for (const [id, p] of probabilities.entries())
    if (p < threshold && !kept.has(id)) scores[id] = Number.NEGATIVE_INFINITY;
}

/** Removes scores below a threshold, but never the first `count`. */
function keepFrom(scores: Float64Array, threshold: number, count: number): void {
  const least = topIds(scores, Math.min(count, scores.length)).at(-1) ?? 0;
  removeBelow(scores, Math.min(threshold, scores[least] ?? threshold));
}

function removeBelow(scores: Float64Array, threshold: number): void {
  for (let id = 0; id < scores.length; id++)
    if ((scores[id] ?? 0) < threshold) scores[id] = Number.NEGATIVE_INFINITY;
}

function removeAllBut(scores: Float64Array, kept: ReadonlySet<number>): void {
  for (let id = 0; id < scores.length; id++) if (!kept.has(id)) scores[id] = Number.NEGATIVE_INFINITY;
}
