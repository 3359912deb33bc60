import { HeddleError } from "@heddle/tensor";
import type { AnyModel } from "../loading/load-model.js";
import { forceToken, minLength } from "./sampling/forcing.js";
import { having, isIds, type OptionRules, whole } from "./sampling/option-rules.js";
import type { LogitsProcessor } from "./sampling/processors.js";
import { type PenaltyOptions, penaltyRules } from "./sampling/sampling-options.js";

/** Options of everything that continues a prompt, however it chooses tokens. */
export interface AnswerOptions extends PenaltyOptions {
  /** Most tokens to generate; a text also ends at the model's longest sequence. Default 512. */
  readonly maxTokens?: number;
  /** No end-of-text token is chosen before so many tokens are made. Default 0. */
  readonly minTokens?: number;
  /** Tokens that must come, each as [place in the answer from 0, id]. Default none. */
  readonly forcedTokens?: readonly (readonly [place: number, id: number])[];
  readonly signal?: AbortSignal;
}

export const answerRules: OptionRules<Required<AnswerOptions>> = {
  maxTokens: whole,
  minTokens: whole,
  forcedTokens: {
    rule: "pairs [place in the answer, id] of whole numbers >= 0",
    holds: (x) => Array.isArray(x) && x.every((pair) => isIds(pair) && pair.length === 2),
  },
  signal: having("an AbortSignal", "throwIfAborted", "addEventListener"),
  ...penaltyRules,
};

/**
 * Steps that know how long the answer is: end-of-text tokens held back, then tokens that must come. What is not given comes from the
 * model's generation_config.json.
 *
 * @throws HeddleError "config" for a forced id that the model has not
 */
export function lengthSteps(
  options: AnswerOptions,
  {
    model: { config, generationConfig },
    promptLength,
    eosTokenIds,
  }: {
    readonly model: AnyModel;
    readonly promptLength: number;
    readonly eosTokenIds: readonly number[];
  },
): LogitsProcessor[] {
  const { minTokens = generationConfig.minTokens ?? 0, forcedTokens = advisedTokens() } = options;
  const { vocabSize } = config;
  const unknown = forcedTokens.find(([, id]) => id >= vocabSize);
  if (unknown !== undefined) {
    const message = `generate: forcedTokens must be ids in 0..${vocabSize - 1}; got ${unknown[1]} at place ${unknown[0]}. Encode the text with this model's own tokenizer.`;
    throw new HeddleError("config", message, { id: unknown[1], vocabSize });
  }
  return [
    ...(minTokens === 0 ? [] : [minLength(promptLength + minTokens, eosTokenIds)]),
    ...forcedTokens.map(([place, id]) => forceToken(id, { length: promptLength + place })),
  ];

  /** The first token of an answer counts only after a start token alone, as an encoder-decoder's decoder is prompted. */
  function advisedTokens(): Required<AnswerOptions>["forcedTokens"] {
    const { firstTokenId } = generationConfig;
    return firstTokenId === undefined || promptLength > 1 ? [] : [[0, firstTokenId]];
  }
}

/** The penalties that a model's makers advise, for a choice that draws nothing. */
export function advisedPenalties({ generationConfig }: AnyModel): PenaltyOptions {
  const advice = Object.entries(generationConfig.sampling);
  return Object.fromEntries(advice.filter(([name]) => Object.hasOwn(penaltyRules, name)));
}

/** Generated ids as text, without what ended them; nothing where the model has no tokenizer. */
export function answerText(
  { tokenizer }: AnyModel,
  ids: readonly number[],
  eosTokenIds: readonly number[],
): { readonly text?: string } {
  if (tokenizer === undefined) return {};
  const kept = Int32Array.from(eosTokenIds.includes(ids.at(-1) ?? -1) ? ids.slice(0, -1) : ids);
  return { text: tokenizer.decode(kept, { skipSpecialTokens: true }) };
}
