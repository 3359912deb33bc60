import { HeddleError } from "@heddle/tensor";
import type { Truncation } from "../../decoder/choose-tokens.js";
import { suppressTokens } from "./forcing.js";
import { checkOptions } from "./option-rules.js";
import {
  badWords,
  frequencyPenalty,
  noRepeatNgram,
  presencePenalty,
  repetitionPenalty,
} from "./penalties.js";
import { type LogitsProcessor, temperature } from "./processors.js";
import { type PenaltyOptions, type SamplingOptions, samplingRules } from "./sampling-options.js";
import { argmaxOf, logSumExp, softmaxOf, topIds } from "./scores.js";
import {
  epsilonCutoff,
  etaCutoff,
  excludeTopChoices,
  minP,
  topH,
  topK,
  topNSigma,
  topP,
  typical,
} from "./truncation.js";
import { uniform } from "./uniform.js";

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
   * the host. Call it once, after the last `sample`; `draw(0)` is for the token after that one.
   *
   * @param device.truncates  whether it can do top-k, top-p and min-p; default false
   */
  onDevice(device?: { readonly truncates?: boolean | undefined }): DeviceSampling | undefined;
}

/** How a device chooses a sequence's tokens. */
export interface DeviceSampling {
  readonly temperature: number;
  /** What may be drawn; absent where all may. */
  readonly truncation?: Truncation;
  /** Number in [0, 1) by which a step draws. */
  draw(step: number): number;
}

/**
 * Makes a sampler: penalties -> bans -> your own processors -> temperature -> top-h -> top-k -> top-p -> min-p -> typical ->
 * epsilon -> eta -> top-n-sigma -> exclusion of top choices -> draw, in transformers' order as far as it has them.
 *
 * The n-th token depends on the seed, n, the logits and the history alone.
 * @throws HeddleError "config" for values out of range and unknown options
 */
export function createSampler(options: SamplingOptions = {}): Sampler {
  checkOptions("createSampler", options, samplingRules);
  const seed = options.seed ?? randomSeed();
  const draws = { done: 0 };
  const processors = [
    ...penaltiesOf(options),
    ...(options.temperature === 0 ? [] : truncationsOf(options, () => uniform(seed, excluding + draws.done))),
  ];
  return {
    sample(logits, history) {
      const scores = Float64Array.from(logits);
      for (const process of processors) process(scores, history);
      const isGreedy = options.temperature === 0;
      const id = isGreedy ? argmaxOf(scores) : inverseCdf(softmaxOf(scores), uniform(seed, draws.done));
      if (!isGreedy) draws.done++;
      const token = withLogprobs(logits, id, options.logprobs ?? 0);
      if (scores[id] === Number.NEGATIVE_INFINITY) throw nothingToChoose("sample", logits);
      return token;
    },
    onDevice({ truncates = false } = {}) {
      const { temperature: heat = 1, logprobs = 0 } = options;
      const { topK: k = 0, topP: mass = 1, minP: share = 0 } = heat === 0 ? {} : options;
      const numCuts = [k > 0, mass < 1, share > 0].filter((cuts) => cuts).length;
      const numOwn = numCuts + (heat === 0 || heat === 1 ? 0 : 1);
      if (processors.length !== numOwn || (numCuts > 0 && !truncates) || logprobs > 0) return undefined;
      return {
        temperature: heat,
        ...(numCuts > 0 && { truncation: { topK: k, topP: mass, minP: share } }),
        draw: (step) => uniform(seed, draws.done + step),
      };
    },
  };
}

/** Whether top choices are excluded is drawn far behind the draws of tokens. */
const excluding = 2 ** 52;

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

/** Steps whose option is given and not neutral. */
function used(
  steps: readonly (readonly [isUsed: boolean, make: () => LogitsProcessor])[],
): LogitsProcessor[] {
  return steps.filter(([isUsed]) => isUsed).map(([, make]) => make());
}

/** Steps of every way to choose: penalties, bans, then the caller's own. */
export function penaltiesOf(options: PenaltyOptions): LogitsProcessor[] {
  const { repetitionPenalty: repetition = 1, frequencyPenalty: frequency = 0 } = options;
  const { presencePenalty: presence = 0, noRepeatNgramSize = 0 } = options;
  const { badWords: words = [], suppressTokens: banned = [] } = options;
  const steps = used([
    [repetition !== 1, () => repetitionPenalty(repetition)],
    [frequency !== 0, () => frequencyPenalty(frequency)],
    [presence !== 0, () => presencePenalty(presence)],
    [noRepeatNgramSize > 0, () => noRepeatNgram(noRepeatNgramSize)],
    [words.length > 0, () => badWords(words)],
    [banned.length > 0, () => suppressTokens(banned)],
  ]);
  return [...steps, ...(options.processors ?? [])];
}

/** The error of a place where no token can be chosen: options have removed all, or the model gave no numbers. */
export function nothingToChoose(caller: string, logits: Float32Array): HeddleError {
  if (logits.some(Number.isNaN)) {
    const message = `${caller}: logits must be numbers; got NaN among ${logits.length}. The weights are damaged or overflow their dtype: load them as f32.`;
    return new HeddleError("dtype", message, { numLogits: logits.length });
  }
  const message = `${caller}: options must leave a token to choose; got none with a score above -Infinity. Ban fewer tokens.`;
  return new HeddleError("config", message, {});
}

function truncationsOf(options: SamplingOptions, random: () => number): LogitsProcessor[] {
  const { temperature: heat = 1, topK: k = 0, topP: mass = 1, minP: share = 0 } = options;
  const { topH: entropy = 1, typicalP = 1, epsilonCutoff: epsilon = 0, etaCutoff: eta = 0 } = options;
  const { topNSigma: sigmas = 0, xtcProbability: probability = 0, xtcThreshold: threshold = 0.1 } = options;
  return used([
    [heat !== 1, () => temperature(heat)],
    [entropy < 1, () => topH(entropy)],
    [k > 0, () => topK(k)],
    [mass < 1, () => topP(mass)],
    [share > 0, () => minP(share)],
    [typicalP < 1, () => typical(typicalP)],
    [epsilon > 0, () => epsilonCutoff(epsilon)],
    [eta > 0, () => etaCutoff(eta)],
    [sigmas > 0, () => topNSigma(sigmas)],
    [probability > 0, () => excludeTopChoices({ threshold, probability, random })],
  ]);
}

function withLogprobs(logits: Float32Array, id: number, numTop: number): SampledToken {
  const total = logSumExp(logits);
  if (Number.isNaN(total)) throw nothingToChoose("sample", logits);
  const logprobOf = (token: number): TokenLogprob => ({ id: token, logprob: (logits[token] ?? 0) - total });
  return numTop > 0 ? { ...logprobOf(id), top: topIds(logits, numTop).map(logprobOf) } : logprobOf(id);
}

function randomSeed(): number {
  return globalThis.crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
