import { HeddleError } from "@heddle/tensor";
import type { Decoder, TokenState } from "../decoder/decoder-interface.js";
import type { AnyModel } from "../loading/load-model.js";
import { roomFor, startDecoder } from "./generate.js";
import { promptIdsOf } from "./prompt.js";
import { softmaxOf, topIds } from "./sampling/scores.js";

export interface ContrastiveSearchOptions {
  /** How many of the likeliest tokens compete. Default 4. */
  readonly topK?: number;
  /** Weight of the penalty for states that resemble earlier ones, 0..1; 0 takes the likeliest token. Default 0.6. */
  readonly penaltyAlpha?: number;
  /** Most tokens to generate. Default 512. */
  readonly maxTokens?: number;
  readonly signal?: AbortSignal;
}

/**
 * Continues a prompt by the candidate with the best (1 - a) p(v) - a max_j cos(h_v, h_j): likely, and unlike what came before.
 *
 * The text is in a cache, once for each candidate; a step feeds all candidates together, and the slots then go on with the best.
 * @param prompt  text, encoded with the tokenizer's special tokens, or ids as they are
 * @returns the generated ids, with the one that ended the text
 * @throws HeddleError "config" for options out of range, "capacity" for a prompt that does not fit, "unsupported" for a model whose
 *   decoder does not show its states
 * @see Su et al. 2022, A Contrastive Framework for Neural Text Generation, arXiv:2202.06417, equation 5
 */
export async function contrastiveSearch(
  model: AnyModel,
  prompt: string | ArrayLike<number>,
  { topK = 4, penaltyAlpha = 0.6, maxTokens, signal }: ContrastiveSearchOptions = {},
): Promise<number[]> {
  checkOptions(topK, penaltyAlpha);
  const promptIds = promptIdsOf(model, prompt);
  const limit = roomFor(model, promptIds.length, { maxTokens });
  const numSlots = Math.min(topK, model.config.vocabSize);
  const { decoder, ids } = await startDecoder(model, promptIds, { maxTokens: limit, numSlots });
  try {
    const search = searchOf(decoder);
    const states = await search.feed(Array.from(ids, (id, position) => ({ id, position, slot: 0 })));
    search.goOnWith(0);
    const seen = states.map(({ hidden }) => unitVector(hidden));
    const made: number[] = [];
    let logits = states.at(-1)?.logits ?? new Float32Array(0);
    while (made.length < limit) {
      signal?.throwIfAborted();
      const probabilities = softmaxOf(Float64Array.from(logits));
      const candidates = topIds(probabilities, numSlots);
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
      if (model.generationConfig.eosTokenIds.includes(id)) break;
      search.goOnWith(best);
      seen.push(directions[best] ?? new Float64Array(0));
      logits = next[best]?.logits ?? logits;
    }
    return made;
  } finally {
    decoder.dispose();
  }
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

function checkOptions(topK: number, penaltyAlpha: number): void {
  if (!(Number.isSafeInteger(topK) && topK >= 1)) {
    const message = `contrastiveSearch: topK must be a whole number >= 1; got ${topK}. Use 4.`;
    throw new HeddleError("config", message, { topK });
  }
  if (!(penaltyAlpha >= 0 && penaltyAlpha <= 1)) {
    const message = `contrastiveSearch: penaltyAlpha must lie in 0..1; got ${penaltyAlpha}. Use 0.6.`;
    throw new HeddleError("config", message, { penaltyAlpha });
  }
}
