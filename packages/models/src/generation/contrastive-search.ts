import { disposeTree, HeddleError, type Tensor, tensor } from "@heddle/tensor";
import { decoderHidden, unembed } from "../decoder/decoder.js";
import type { LoadedModel } from "../loading/load-model.js";
import { promptIdsOf, roomFor } from "./generate.js";
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
 * Computes the whole text for each token, for all candidates at once: meant for short texts.
 * @returns the generated ids, with the one that ended the text
 * @throws HeddleError "config" for options out of range, "capacity" for a prompt that does not fit
 * @see Su et al. 2022, A Contrastive Framework for Neural Text Generation, arXiv:2202.06417, equation 5
 */
export async function contrastiveSearch(
  model: LoadedModel,
  prompt: string | ArrayLike<number>,
  { topK = 4, penaltyAlpha = 0.6, maxTokens, signal }: ContrastiveSearchOptions = {},
): Promise<number[]> {
  checkOptions(topK, penaltyAlpha);
  const ids = Array.from(promptIdsOf(model, prompt));
  const { length } = ids;
  const limit = roomFor(model, length, maxTokens);
  const { eosTokenIds } = model.generationConfig;
  let [current] = await statesOf(model, [ids]);
  while (ids.length < length + limit && current !== undefined) {
    signal?.throwIfAborted();
    const probabilities = softmaxOf(Float64Array.from(current.logits));
    const candidates = topIds(probabilities, Math.min(topK, probabilities.length));
    const states = await statesOf(
      model,
      candidates.map((id) => [...ids, id]),
    );
    const scores = candidates.map((id, at) => {
      const resemblance = maxResemblance(states[at]?.hidden ?? []);
      return (1 - penaltyAlpha) * (probabilities[id] ?? 0) - penaltyAlpha * resemblance;
    });
    const [best = 0] = topIds(scores, 1);
    const id = candidates[best] ?? 0;
    ids.push(id);
    if (eosTokenIds.includes(id)) break;
    current = states[best];
  }
  return ids.slice(length);
}

/** The last hidden states of a text, token by token, and the logits after its last token. */
interface TextState {
  readonly hidden: readonly ArrayLike<number>[];
  readonly logits: ArrayLike<number>;
}

async function statesOf(
  { config, weights, device }: LoadedModel,
  rows: readonly (readonly number[])[],
): Promise<TextState[]> {
  const length = rows[0]?.length ?? 0;
  const ids = tensor(device, Int32Array.from(rows.flat()), { shape: [rows.length, length] });
  const { last, layers, routerLogits } = decoderHidden(config, weights, { ids });
  const logits = unembed(config, weights, last);
  const rowsOf = async (x: Tensor, width: number) => {
    const data = await x.data();
    return Array.from({ length: rows.length * length }, (_, row) =>
      data.subarray(row * width, (row + 1) * width),
    );
  };
  const hidden = await rowsOf(last, config.modelDim);
  const scores = await rowsOf(logits, config.vocabSize);
  disposeTree([ids, last, layers, routerLogits, logits]);
  return rows.map((_, row) => ({
    hidden: hidden.slice(row * length, (row + 1) * length),
    logits: scores[(row + 1) * length - 1] ?? [],
  }));
}

/** Cosine of the last state with the earlier one that it resembles most. */
function maxResemblance(states: readonly ArrayLike<number>[]): number {
  const last = states.at(-1) ?? [];
  return Math.max(...states.slice(0, -1).map((state) => cosine(state, last)));
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x = 0, y = 0] = [a[i], b[i]];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
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
