import { HeddleError } from "@heddle/tensor";
import type { Decoder, TokenState } from "../decoder/decoder-interface.js";
import type { AnyModel } from "../loading/load-model.js";
import {
  type AnswerOptions,
  advisedPenalties,
  answerRules,
  answerText,
  lengthSteps,
} from "./answer-options.js";
import { roomFor, startDecoder } from "./generate.js";
import { type Prompt, promptOf } from "./prompt.js";
import { checkOptions, count, listOfIds, type OptionRules, share } from "./sampling/option-rules.js";
import { chain } from "./sampling/processors.js";
import { nothingToChoose, penaltiesOf } from "./sampling/sampler.js";
import { softmaxOf, topIds } from "./sampling/scores.js";

/** Penalties are done on the logits before candidates are taken. */
export interface ContrastiveSearchOptions extends AnswerOptions {
  /** How many of the likeliest tokens compete. Default 4. */
  readonly topK?: number;
  /** Weight of the penalty for states that resemble earlier ones, 0..1; 0 takes the likeliest token. Default 0.6. */
  readonly penaltyAlpha?: number;
  /** Ids that end the text. Default: the model's. */
  readonly eosTokenIds?: readonly number[];
}

const contrastiveSearchRules: OptionRules<Required<ContrastiveSearchOptions>> = {
  topK: count,
  penaltyAlpha: share,
  eosTokenIds: listOfIds,
  ...answerRules,
};

/** What contrastive search made. */
export interface ContrastiveAnswer {
  /** Generated ids, with the one that ended the text. */
  readonly ids: readonly number[];
  /** The ids as text; absent without a tokenizer. */
  readonly text?: string;
}

/**
 * Continues a prompt by the candidate with the best (1 - a) p(v) - a max_j cos(h_v, h_j): likely, and unlike what came before.
 *
 * The text is in a cache, once for each candidate; a step feeds all candidates together, and the slots then go on with the best.
 * Penalties, least length and first token that are not given come from the model's generation_config.json.
 * @param prompt  text, encoded with the tokenizer's special tokens, ids as they are, or what a model that listens hears
 * @throws HeddleError "config" for values out of range and unknown options, and where options remove every token; "capacity" for a
 *   prompt that does not fit, "unsupported" for a model whose decoder does not show its states
 * @see Su et al. 2022, A Contrastive Framework for Neural Text Generation, arXiv:2202.06417, equation 5
 */
export async function contrastiveSearch(
  model: AnyModel,
  prompt: Prompt,
  options: ContrastiveSearchOptions = {},
): Promise<ContrastiveAnswer> {
  checkOptions("contrastiveSearch", options, contrastiveSearchRules);
  const { topK = 4, penaltyAlpha = 0.6, eosTokenIds = model.generationConfig.eosTokenIds, signal } = options;
  const { vocabSize } = model.config;
  const { ids: promptIds, ...heard } = promptOf(model, prompt);
  const limit = roomFor(model, promptIds.length, { maxTokens: options.maxTokens });
  const numSlots = Math.min(topK, vocabSize);
  const { decoder, ids } = await startDecoder(model, promptIds, { maxTokens: limit, numSlots, ...heard });
  try {
    const search = searchOf(decoder);
    const process = chain(
      ...penaltiesOf({ ...advisedPenalties(model), ...options }),
      ...lengthSteps(options, { model, promptLength: ids.length, eosTokenIds }),
    );
    const states = await search.feed(Array.from(ids, (id, position) => ({ id, position, slot: 0 })));
    search.goOnWith(0);
    const seen = states.map(({ hidden }) => unitVector(hidden));
    const made: number[] = [];
    let logits = states.at(-1)?.logits ?? new Float32Array(0);
    while (made.length < limit) {
      signal?.throwIfAborted();
      const { candidates, probabilities } = candidatesOf(logits, numSlots, (scores) =>
        process(scores, [...ids, ...made]),
      );
      const position = ids.length + made.length;
      const next = await search.feed(candidates.map((id, slot) => ({ id, position, slot })));
      const directions = next.map(({ hidden }) => unitVector(hidden));
      const scores = candidates.map((id, at) => {
        const resemblance = Math.max(...seen.map((other) => dot(other, directions[at] ?? [])));
        return (1 - penaltyAlpha) * (probabilities[id] ?? 0) - penaltyAlpha * resemblance;
      });
      const [best = 0] = topIds(scores, 1);
      const id = candidates[best] ?? 0;
      made.push(id);
      if (eosTokenIds.includes(id)) break;
      search.goOnWith(best);
      seen.push(directions[best] ?? new Float64Array(0));
      logits = next[best]?.logits ?? logits;
    }
    return { ids: made, ...answerText(model, made, eosTokenIds) };
  } finally {
    decoder.dispose();
  }
}

/** The likeliest tokens that are possible at all. */
function candidatesOf(
  logits: Float32Array,
  count: number,
  process: (scores: Float64Array) => void,
): { readonly candidates: readonly number[]; readonly probabilities: Float64Array } {
  const scores = Float64Array.from(logits);
  process(scores);
  const probabilities = softmaxOf(scores);
  const candidates = topIds(probabilities, count).filter((id) => (probabilities[id] ?? 0) > 0);
  if (candidates.length === 0) throw nothingToChoose("contrastiveSearch", logits);
  return { candidates, probabilities };
}

interface Row {
  readonly id: number;
  readonly position: number;
  readonly slot: number;
}

/** What the search needs of a decoder. @throws HeddleError "unsupported" where it has not */
function searchOf(decoder: Decoder): {
  feed(rows: readonly Row[]): Promise<TokenState[]>;
  /** Makes all slots continue what one of them holds. */
  goOnWith(slot: number): void;
} {
  if (
    decoder.states === undefined ||
    decoder.reorderSlots === undefined ||
    decoder.feedPrefix !== undefined
  ) {
    const message =
      "contrastiveSearch: the model's decoder must show its states, copy sequences and read prompts causally; got one that does not. Use generate.";
    throw new HeddleError("unsupported", message, {});
  }
  return {
    feed: async (rows) =>
      (await decoder.states?.({
        tokens: Int32Array.from(rows, ({ id }) => id),
        positions: Int32Array.from(rows, ({ position }) => position),
        slots: Int32Array.from(rows, ({ slot }) => slot),
        outputs: Int32Array.from(rows.keys()),
      })) ?? [],
    goOnWith: (slot) => decoder.reorderSlots?.(new Int32Array(decoder.numSlots).fill(slot)),
  };
}

function unitVector(x: ArrayLike<number>): Float64Array {
  const length = Math.sqrt(dot(x, x));
  return Float64Array.from(x, (value) => value / length);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
