import { HeddleError } from "@heddle/tensor";
import type { Decoder } from "./create-decoder.js";
import type { LogitsProcessor } from "./sampling/processors.js";

/** What beam search drives: beams under way side by side. */
export interface Beams {
  /** Reads the prompt; gives the logits [V] that follow it. */
  start(): Promise<Float32Array>;
  /** Beam i goes on from what beam `from[i]` was, with `tokens[i]`; gives the logits [V] that follow each. */
  next(from: readonly number[], tokens: readonly number[]): Promise<readonly Float32Array[]>;
}

export interface BeamSearchOptions {
  readonly numBeams: number;
  /** Most tokens to generate. */
  readonly maxTokens: number;
  /** Ids that end a text. */
  readonly eosTokenIds: readonly number[];
  /** Scores are divided by length ^ lengthPenalty: above 0 favours long texts. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When to stop: true as soon as `numBeams` texts have ended; false (default) when the best beam is not likely to overtake the worst
   * of them; "never" when it cannot.
   */
  readonly earlyStopping?: boolean | "never";
  /** How many texts to return, best first, at most `numBeams`. Default 1. */
  readonly numResults?: number;
  /** Applied to log-probabilities, in order. */
  readonly processors?: readonly LogitsProcessor[];
  readonly signal?: AbortSignal;
}

/** A text that beam search found. */
export interface BeamResult {
  /** Generated ids, the ending one included. */
  readonly ids: readonly number[];
  /** Sum of log-probabilities / length ^ lengthPenalty. */
  readonly score: number;
}

interface Beam {
  readonly ids: readonly number[];
  /** Sum of log-probabilities, in nats. */
  readonly score: number;
  /** The beam that it continues. */
  readonly from: number;
}

/**
 * Searches for the most likely texts: keeps the `numBeams` best beginnings and lets each go on with every token.
 *
 * @param history  ids that processors see before the generated ones: the prompt, or the start token of an encoder-decoder
 * @returns texts, best first; fewer than asked for where fewer ended
 * @throws HeddleError "config" for options that cannot be; the signal's reason when aborted
 * @see Sutskever et al. 2014, arXiv:1409.3215, section 3.2; Wu et al. 2016, arXiv:1609.08144, equation 14. Ties, stopping rules and
 * the meaning of length are those of transformers' generate
 */
export async function beamSearch(
  beams: Beams,
  history: ArrayLike<number>,
  options: BeamSearchOptions,
): Promise<readonly BeamResult[]> {
  const { numBeams, maxTokens, eosTokenIds, signal } = options;
  const { lengthPenalty = 1, earlyStopping = false, numResults = 1, processors = [] } = options;
  checkOptions({ numBeams, maxTokens, numResults });
  const eos = new Set(eosTokenIds);
  const prompt = Array.from(history);
  let running: readonly Beam[] = [{ ids: [], score: 0, from: 0 }];
  let finished: readonly BeamResult[] = [];
  let logits: readonly Float32Array[] = [await beams.start()];
  for (let length = 1; ; length++) {
    signal?.throwIfAborted();
    const candidates = bestCandidates(running, logits, {
      prompt,
      processors,
      count: Math.max(2, 1 + eos.size) * numBeams,
    });
    const hasEnded = ({ ids }: Beam) => length === maxTokens || eos.has(ids.at(-1) ?? -1);
    // Only the best numBeams may end: the others stand by, so that numBeams can go on.
    const ended = candidates.slice(0, numBeams).filter(hasEnded);
    finished = [
      ...finished,
      ...ended.map(({ ids, score }) => ({ ids, score: score / length ** lengthPenalty })),
    ]
      .sort((a, b) => b.score - a.score)
      .slice(0, numBeams);
    running = candidates.filter((beam) => !hasEnded(beam)).slice(0, numBeams);
    const isFull = finished.length === numBeams;
    const hopedLength = earlyStopping === "never" && lengthPenalty > 0 ? maxTokens : length;
    const hope = (running[0]?.score ?? Number.NEGATIVE_INFINITY) / hopedLength ** lengthPenalty;
    const isBeaten = isFull && hope <= (finished.at(-1)?.score ?? 0);
    if (running.length === 0 || isBeaten || (isFull && earlyStopping === true)) break;
    logits = await beams.next(
      running.map(({ from }) => from),
      running.map(({ ids }) => ids.at(-1) ?? 0),
    );
  }
  return finished.slice(0, numResults);
}

/** The best continuations of all beams by one token, best first. */
function bestCandidates(
  running: readonly Beam[],
  logits: readonly Float32Array[],
  {
    prompt,
    processors,
    count,
  }: {
    readonly prompt: readonly number[];
    readonly processors: readonly LogitsProcessor[];
    readonly count: number;
  },
): readonly Beam[] {
  const best: Beam[] = [];
  for (const [from, beam] of running.entries()) {
    const scores = logProbabilities(logits[from] ?? new Float32Array(0));
    const soFar = [...prompt, ...beam.ids];
    for (const process of processors) process(scores, soFar);
    for (const [id, score] of scores.entries()) {
      const total = beam.score + score;
      if (total === Number.NEGATIVE_INFINITY || (best.length === count && total <= (best.at(-1)?.score ?? 0)))
        continue;
      const at = best.findIndex((other) => other.score < total);
      best.splice(at < 0 ? best.length : at, 0, { ids: [...beam.ids, id], score: total, from });
      if (best.length > count) best.pop();
    }
  }
  return best;
}

function logProbabilities(logits: Float32Array): Float64Array {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) most = Math.max(most, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  const shift = most + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

/** A decoder whose slots can be copied onto each other. */
export interface ReorderableDecoder extends Decoder {
  /** Slot i becomes what slot `from[i]` was, for the first slots as many as `from` names, all at once. */
  reorder(from: readonly number[]): void;
}

/**
 * Makes beams of the slots of a decoder, from slot 0 on.
 *
 * @param ids  what to feed first: the prompt, or the start token of an encoder-decoder
 */
export function decoderBeams(decoder: ReorderableDecoder, ids: ArrayLike<number>): Beams {
  let position = 0;
  const feed = (tokens: readonly number[], slotOf: (row: number) => number, places: readonly number[]) =>
    decoder.step({
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from(places),
      slots: Int32Array.from(tokens, (_, row) => slotOf(row)),
      outputs: slotOf(1) === 0 ? Int32Array.of(tokens.length - 1) : Int32Array.from(tokens.keys()),
    });
  return {
    async start() {
      position = ids.length;
      const prompt = Array.from(ids);
      const [logits = new Float32Array(0)] = await feed(prompt, () => 0, [...prompt.keys()]);
      return logits;
    },
    async next(from, tokens) {
      if (from.some((slot, at) => slot !== at)) decoder.reorder(from);
      const logits = await feed(
        tokens,
        (row) => row,
        tokens.map(() => position),
      );
      position++;
      return logits;
    },
  };
}

function checkOptions(counts: Readonly<Record<"numBeams" | "maxTokens" | "numResults", number>>): void {
  const areCounts = Object.values(counts).every((value) => Number.isSafeInteger(value) && value >= 1);
  if (areCounts && counts.numResults <= counts.numBeams) return;
  const { numBeams, maxTokens, numResults } = counts;
  const message = `beamSearch: numBeams, maxTokens and numResults must be whole numbers >= 1, numResults at most numBeams; got numBeams ${numBeams}, maxTokens ${maxTokens}, numResults ${numResults}. Pass others.`;
  throw new HeddleError("config", message, counts);
}
