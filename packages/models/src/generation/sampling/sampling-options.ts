import { HeddleError } from "@heddle/tensor";
import type { LogitsProcessor } from "./processors.js";

export interface SamplingOptions {
  /** 0 takes the most likely token ("greedy"). Default 1. */
  readonly temperature?: number;
  /** Keeps the k most likely tokens; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keeps the most likely tokens up to this probability, 0..1. Default 1: all. */
  readonly topP?: number;
  /** Keeps tokens at least this many times as likely as the best, 0..1. Default 0: all. */
  readonly minP?: number;
  /** Keeps the most likely tokens up to this share of the entropy, 0..1. Default 1: all. */
  readonly topH?: number;
  /** Keeps the tokens whose surprise is most typical up to this probability, 0..1. Default 1: all. */
  readonly typicalP?: number;
  /** Keeps tokens of this probability or more, 0..1. Default 0: all. */
  readonly epsilonCutoff?: number;
  /** As `epsilonCutoff`, lower where many tokens are likely, 0..1. Default 0: all. */
  readonly etaCutoff?: number;
  /** Keeps tokens whose logit lies at most this many standard deviations below the greatest; 0 keeps all. Default 0. */
  readonly topNSigma?: number;
  /** How often the likeliest tokens are excluded, 0..1. Default 0: never. */
  readonly xtcProbability?: number;
  /** Tokens of this probability or more count as top choices; the least likely of them stays. Default 0.1. */
  readonly xtcThreshold?: number;
  /** Above 1 discourages tokens of prompt and answer. Default 1. */
  readonly repetitionPenalty?: number;
  /** Lowers a token's score by this for each occurrence in prompt and answer. Default 0. */
  readonly frequencyPenalty?: number;
  /** Lowers the score of tokens that occur in prompt and answer. Default 0. */
  readonly presencePenalty?: number;
  /** No sequence of so many tokens comes twice, the prompt's included; 0 allows all. Default 0. */
  readonly noRepeatNgramSize?: number;
  /** Sequences of ids that must not be completed. Default none. */
  readonly badWords?: readonly (readonly number[])[];
  /** Ids that must not be chosen. Default none. */
  readonly suppressTokens?: readonly number[];
  /** Steps of your own, done after penalties and before the temperature. Default none. */
  readonly processors?: readonly LogitsProcessor[];
  /** Same seed, same choices. Whole number >= 0. Default: a random one. */
  readonly seed?: number;
  /** How many alternatives to report with each token. Default 0. */
  readonly logprobs?: number;
}

interface Range {
  readonly rule: string;
  readonly holds: (x: unknown) => boolean;
}

const numeric = (rule: string, holds: (x: number) => boolean): Range => ({
  rule,
  holds: (x) => typeof x === "number" && holds(x),
});

const whole = numeric("a whole number >= 0", (x) => Number.isSafeInteger(x) && x >= 0);
const share = numeric("from 0 to 1", (x) => x >= 0 && x <= 1);
const positiveShare = numeric("above 0 and at most 1", (x) => x > 0 && x <= 1);
const finite = numeric("a finite number", Number.isFinite);
const notNegative = numeric("a number >= 0", (x) => x >= 0 && x < Number.POSITIVE_INFINITY);

const isIds = (x: unknown): boolean =>
  Array.isArray(x) && x.every((id) => Number.isSafeInteger(id) && id >= 0);

/** Allowed values of each option. */
const ranges: Readonly<Record<keyof SamplingOptions, Range>> = {
  temperature: notNegative,
  topK: whole,
  topP: positiveShare,
  minP: share,
  topH: positiveShare,
  typicalP: positiveShare,
  epsilonCutoff: share,
  etaCutoff: share,
  topNSigma: notNegative,
  xtcProbability: share,
  xtcThreshold: share,
  repetitionPenalty: numeric("a number above 0", (x) => x > 0 && x < Number.POSITIVE_INFINITY),
  frequencyPenalty: finite,
  presencePenalty: finite,
  noRepeatNgramSize: whole,
  badWords: {
    rule: "lists of one or more ids",
    holds: (x) => Array.isArray(x) && x.every((word) => isIds(word) && word.length > 0),
  },
  suppressTokens: { rule: "a list of ids", holds: isIds },
  processors: {
    rule: "a list of functions",
    holds: (x) => Array.isArray(x) && x.every((step) => typeof step === "function"),
  },
  seed: whole,
  logprobs: whole,
};

/** @throws HeddleError "config" for values out of range and unknown options */
export function checkOptions(options: SamplingOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const range = Object.hasOwn(ranges, name) ? ranges[name as keyof SamplingOptions] : undefined;
    if (range === undefined) {
      const known = Object.keys(ranges).join(", ");
      const message = `createSampler: options must be among ${known}; got "${name}". Remove or rename it.`;
      throw new HeddleError("config", message, { option: name });
    }
    if (!range.holds(value)) {
      const message = `createSampler: ${name} must be ${range.rule}; got ${String(value)}. Change or leave it out.`;
      throw new HeddleError("config", message, { option: name, value });
    }
  }
}
