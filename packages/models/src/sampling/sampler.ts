import { HeddleError } from "@heddle/tensor";
import {
  frequencyPenalty,
  type LogitsProcessor,
  minP,
  presencePenalty,
  repetitionPenalty,
  temperature,
  topK,
  topP,
} from "./processors.js";
import { argmaxOf, logSumExp, softmaxOf, topIds } from "./scores.js";
import { uniform } from "./uniform.js";

export interface SamplingOptions {
  /** 0 takes the most likely token ("greedy"). Default 1. */
  readonly temperature?: number;
  /** Keeps the k most likely tokens; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keeps the most likely tokens up to this probability, 0..1. Default 1: all. */
  readonly topP?: number;
  /** Keeps tokens at least this many times as likely as the best, 0..1. Default 0: all. */
  readonly minP?: number;
  /** Above 1 discourages tokens of prompt and answer. Default 1. */
  readonly repetitionPenalty?: number;
  /** Lowers a token's score by this for each occurrence in prompt and answer. Default 0. */
  readonly frequencyPenalty?: number;
  /** Lowers the score of tokens that occur in prompt and answer. Default 0. */
  readonly presencePenalty?: number;
  /** Same seed, same choices. Whole number >= 0. Default: a random one. */
  readonly seed?: number;
  /** How many alternatives to report with each token. Default 0. */
  readonly logprobs?: number;
}

export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of the model's own probability, before temperature and the other options. */
  readonly logprob: number;
}

export interface SampledToken extends TokenLogprob {
  /** The most likely tokens, best first; present where `logprobs` is above 0. */
  readonly top?: readonly TokenLogprob[];
}

/** Chooses the tokens of one sequence. */
export interface Sampler {
  /** @param history  ids so far, prompt included */
  sample(logits: Float32Array, history: ArrayLike<number>): SampledToken;
  /**
   * How a device may choose the tokens that follow, in the place of `sample`; undefined where the options need all logits on
   * the host. Call it once, after the last `sample`.
   */
  onDevice(): { readonly temperature: number; draw(step: number): number } | undefined;
}

/**
 * Makes a sampler: penalties -> temperature -> top-k -> top-p -> min-p -> draw, in transformers' order.
 *
 * The n-th token depends on the seed, n, the logits and the history alone.
 * @throws HeddleError "config" for values out of range and unknown options
 */
export function createSampler(options: SamplingOptions = {}): Sampler {
  checkOptions(options);
  const processors = processorsOf(options);
  const seed = options.seed ?? randomSeed();
  const isGreedy = options.temperature === 0;
  const draws = { done: 0 };
  return {
    sample(logits, history) {
      const scores = Float64Array.from(logits);
      for (const process of processors) process(scores, history);
      const id = isGreedy ? argmaxOf(scores) : inverseCdf(softmaxOf(scores), uniform(seed, draws.done++));
      return withLogprobs(logits, id, options.logprobs ?? 0);
    },
    onDevice() {
      const { temperature: heat = 1, logprobs = 0 } = options;
      const isPlain = processors.length === (heat === 0 || heat === 1 ? 0 : 1);
      if (!isPlain || logprobs > 0) return undefined;
      return { temperature: heat, draw: (step) => uniform(seed, draws.done + step) };
    },
  };
}

/** The token at which the running sum of probabilities, in the order of ids, reaches `u` in [0, 1). */
export function inverseCdf(probabilities: Float64Array, u: number): number {
  let sum = 0;
  let last = 0;
  for (const [id, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    sum += probability;
    last = id;
    if (sum >= u) return id;
  }
  return last; // the sum may end a rounding error below u
}

function processorsOf(options: SamplingOptions): LogitsProcessor[] {
  const { temperature: heat = 1, topK: k = 0, topP: mass = 1, minP: share = 0 } = options;
  const {
    repetitionPenalty: repetition = 1,
    frequencyPenalty: frequency = 0,
    presencePenalty: presence = 0,
  } = options;
  const draws = heat !== 0;
  const steps: readonly (readonly [isUsed: boolean, make: () => LogitsProcessor])[] = [
    [repetition !== 1, () => repetitionPenalty(repetition)],
    [frequency !== 0, () => frequencyPenalty(frequency)],
    [presence !== 0, () => presencePenalty(presence)],
    [draws && heat !== 1, () => temperature(heat)],
    [draws && k > 0, () => topK(k)],
    [draws && mass < 1, () => topP(mass)],
    [draws && share > 0, () => minP(share)],
  ];
  return steps.filter(([isUsed]) => isUsed).map(([, make]) => make());
}

function withLogprobs(logits: Float32Array, id: number, numTop: number): SampledToken {
  const total = logSumExp(logits);
  if (Number.isNaN(total)) {
    const message = `sample: logits must be numbers; got NaN among ${logits.length}. The weights are damaged or overflow their dtype: load them as f32.`;
    throw new HeddleError("dtype", message, { numLogits: logits.length });
  }
  const logprobOf = (token: number): TokenLogprob => ({ id: token, logprob: (logits[token] ?? 0) - total });
  return numTop > 0 ? { ...logprobOf(id), top: topIds(logits, numTop).map(logprobOf) } : logprobOf(id);
}

function randomSeed(): number {
  return globalThis.crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Allowed values of each option. */
const ranges: Readonly<
  Record<keyof SamplingOptions, { readonly rule: string; readonly holds: (x: number) => boolean }>
> = {
  temperature: { rule: "a number >= 0", holds: (x) => x >= 0 && x < Number.POSITIVE_INFINITY },
  topK: { rule: "a whole number >= 0", holds: (x) => Number.isSafeInteger(x) && x >= 0 },
  topP: { rule: "above 0 and at most 1", holds: (x) => x > 0 && x <= 1 },
  minP: { rule: "from 0 to 1", holds: (x) => x >= 0 && x <= 1 },
  repetitionPenalty: { rule: "a number above 0", holds: (x) => x > 0 && x < Number.POSITIVE_INFINITY },
  frequencyPenalty: { rule: "a finite number", holds: Number.isFinite },
  presencePenalty: { rule: "a finite number", holds: Number.isFinite },
  seed: { rule: "a whole number >= 0", holds: (x) => Number.isSafeInteger(x) && x >= 0 },
  logprobs: { rule: "a whole number >= 0", holds: (x) => Number.isSafeInteger(x) && x >= 0 },
};

function checkOptions(options: SamplingOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const range = Object.hasOwn(ranges, name) ? ranges[name as keyof SamplingOptions] : undefined;
    if (range === undefined) {
      const known = Object.keys(ranges).join(", ");
      const message = `createSampler: options must be among ${known}; got "${name}". Remove or rename it.`;
      throw new HeddleError("config", message, { option: name });
    }
    if (typeof value !== "number" || !range.holds(value)) {
      const message = `createSampler: ${name} must be ${range.rule}; got ${String(value)}. Change or leave it out.`;
      throw new HeddleError("config", message, { option: name, value });
    }
  }
}
