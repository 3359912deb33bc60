import {
  finite,
  isIds,
  listOfIds,
  notNegative,
  type OptionRules,
  positive,
  positiveShare,
  share,
  whole,
} from "./option-rules.js";
import type { LogitsProcessor } from "./processors.js";

/** How scores are changed before a token is chosen, in whatever way. */
export interface PenaltyOptions {
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
  /** Steps of your own, done after penalties and bans, before any temperature and truncation. Default none. */
  readonly processors?: readonly LogitsProcessor[];
}

export interface SamplingOptions extends PenaltyOptions {
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
  /** Same seed, same choices. Whole number >= 0. Default: a random one. */
  readonly seed?: number;
  /** How many alternatives to report with each token. Default 0. */
  readonly logprobs?: number;
}

export const penaltyRules: OptionRules<Required<PenaltyOptions>> = {
  repetitionPenalty: positive,
  frequencyPenalty: finite,
  presencePenalty: finite,
  noRepeatNgramSize: whole,
  badWords: {
    rule: "lists of one or more ids",
    holds: (x) => Array.isArray(x) && x.every((word) => isIds(word) && word.length > 0),
  },
  suppressTokens: listOfIds,
  processors: {
    rule: "a list of functions",
    holds: (x) => Array.isArray(x) && x.every((step) => typeof step === "function"),
  },
};

export const samplingRules: OptionRules<Required<SamplingOptions>> = {
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
  ...penaltyRules,
  seed: whole,
  logprobs: whole,
};
