import { HeddleError } from "@heddle/tensor";
import type { Decoder } from "../decoder/decoder-interface.js";
import type { AnyModel } from "../loading/load-model.js";
import {
  type AnswerOptions,
  advisedPenalties,
  answerRules,
  answerText,
  lengthSteps,
} from "./answer-options.js";
import { feedPrompt, roomFor, startDecoder } from "./generate.js";
import { type Prompt, promptOf } from "./prompt.js";
import { checkOptions, count, finite, having, listOfIds, type OptionRules } from "./sampling/option-rules.js";
import { chain, type LogitsProcessor } from "./sampling/processors.js";
import { nothingToChoose, penaltiesOf } from "./sampling/sampler.js";
import { logSumExp, topIds } from "./sampling/scores.js";

/** Penalties are done on the log-probabilities of each beam. */
export interface BeamSearchOptions extends AnswerOptions {
  /** Sequences that are followed at once. Default 4. */
  readonly numBeams?: number;
  /** How many of the best sequences to return; at most `numBeams`. Default 1. */
  readonly numReturned?: number;
  /** Scores are log-probabilities over (generated tokens ^ this): above 0 favours longer sequences. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When to stop: true as soon as `numBeams` sequences have ended; false when a heuristic says that no better one will come;
   * "never" only when none can come. Default false.
   */
  readonly earlyStopping?: boolean | "never";
  /** Ids that end a sequence. Default: the model's. */
  readonly eosTokenIds?: readonly number[];
  /**
   * A decoder to use, with at least `numBeams` slots that hear the same source: one over audio, or one whose plans are kept. Its first
   * slots are overwritten; the prompt is what it is fed first. Default: a new one.
   */
  readonly decoder?: Decoder;
}

const beamSearchRules: OptionRules<Required<BeamSearchOptions>> = {
  numBeams: count,
  numReturned: count,
  lengthPenalty: finite,
  earlyStopping: {
    rule: 'true, false or "never"',
    holds: (x) => [true, false, "never"].includes(x as boolean),
  },
  eosTokenIds: listOfIds,
  decoder: having("a decoder, such as createDecoder makes", "step"),
  ...answerRules,
};

/** A sequence that beam search found. */
export interface Beam {
  /** Generated ids, with the one that ended the sequence. */
  readonly ids: readonly number[];
  /** Sum of the log-probabilities over (number of ids ^ length penalty). */
  readonly score: number;
  /** The ids as text; absent without a tokenizer. */
  readonly text?: string;
}

/** A sequence under way: the ids after the prompt and the sum of their log-probabilities. */
interface OpenBeam {
  readonly ids: readonly number[];
  readonly logprob: number;
}

/**
 * Continues a prompt by the sequences of the greatest probability that a search over `numBeams` at once finds.
 *
 * Penalties, least length and first token that are not given come from the model's generation_config.json.
 * @param prompt  text, encoded with the tokenizer's special tokens, ids as they are, or what a model that listens hears
 * @returns the best sequences, best first
 * @throws HeddleError "unsupported" where the model's sequences cannot be copied, "capacity" for a prompt that does not fit, "config"
 *   for values out of range and unknown options, and where options remove every token
 * @see Lowerre 1976; Wu et al. 2016, arXiv:1609.08144, section 7 (length penalty). Same rules as transformers' `generate`
 */
export async function beamSearch(
  model: AnyModel,
  prompt: Prompt,
  options: BeamSearchOptions = {},
): Promise<Beam[]> {
  const settings = settingsOf(model, options);
  const { ids: promptIds, ...heard } = promptOf(model, prompt);
  const { decoder: given } = options;
  const maxTokens = roomFor(model, promptIds.length, { maxTokens: options.maxTokens, decoder: given });
  checkSlots(given, settings.numBeams);
  const { decoder, ids } =
    given === undefined
      ? await startDecoder(model, promptIds, { maxTokens, numSlots: settings.numBeams, ...heard })
      : { decoder: given, ids: promptIds };
  try {
    const { eosTokenIds } = settings;
    const process = chain(
      ...penaltiesOf({ ...advisedPenalties(model), ...options }),
      ...lengthSteps(options, { model, promptLength: ids.length, eosTokenIds }),
    );
    const search = { ...settings, maxTokens, history: Array.from(ids), decoder, process };
    const ended = await runSearch(search, options.signal);
    return ended
      .slice(0, settings.numReturned)
      .map((beam) => ({ ...beam, ...answerText(model, beam.ids, eosTokenIds) }));
  } finally {
    if (given === undefined) decoder.dispose();
  }
}

function checkSlots(decoder: Decoder | undefined, numBeams: number): void {
  if (decoder === undefined || decoder.numSlots >= numBeams) return;
  const message = `beamSearch: the decoder must have a slot for each of ${numBeams} beams; got ${decoder.numSlots}. Make it with numSlots ${numBeams}.`;
  throw new HeddleError("config", message, { numBeams, numSlots: decoder.numSlots });
}

interface Settings {
  readonly numBeams: number;
  readonly numReturned: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | "never";
  readonly eosTokenIds: readonly number[];
}

interface Search extends Settings {
  readonly maxTokens: number;
  readonly process: LogitsProcessor;
  readonly decoder: Decoder;
  /** What the decoder is fed before the first new token. */
  readonly history: readonly number[];
}

async function runSearch(search: Search, signal: AbortSignal | undefined): Promise<Beam[]> {
  const { numBeams, maxTokens } = search;
  let open: readonly OpenBeam[] = [{ ids: [], logprob: 0 }];
  let ended: readonly Beam[] = [];
  let logits = await feedFirst(search);
  for (let length = 1; length <= maxTokens; length++) {
    signal?.throwIfAborted();
    const candidates = continuations(search, open, logits);
    if (candidates.length === 0 && ended.length === 0)
      throw nothingToChoose("beamSearch", logits[0] ?? new Float32Array(0));
    const isLast = length === maxTokens;
    ended = withEnded(search, ended, { candidates: candidates.slice(0, numBeams), isLast });
    const next = candidates.filter(({ isEnd }) => !isEnd).slice(0, numBeams);
    open = next.map(({ ids, logprob }) => ({ ids, logprob }));
    if (isLast || open.length === 0 || isSettled(search, { open, ended, length })) break;
    logits = await feedBeams(search, next);
  }
  return [...ended];
}

interface Candidate extends OpenBeam {
  /** Which open beam it continues. */
  readonly parent: number;
  readonly isEnd: boolean;
}

/** The best ways to go on with any beam: enough that `numBeams` of them do not end. */
function continuations(
  { numBeams, eosTokenIds, process, history }: Search,
  open: readonly OpenBeam[],
  logits: readonly Float32Array[],
): Candidate[] {
  const wanted = Math.max(2, 1 + eosTokenIds.length) * numBeams;
  const candidates = open.flatMap(({ ids, logprob }, parent) => {
    const own = logits[parent] ?? new Float32Array(0);
    const total = logSumExp(own);
    const scores = Float64Array.from(own, (logit) => logit - total);
    process(scores, [...history, ...ids]);
    return topIds(scores, Math.min(wanted, scores.length)).map(
      (id): Candidate => ({
        parent,
        ids: [...ids, id],
        logprob: logprob + (scores[id] ?? 0),
        isEnd: eosTokenIds.includes(id),
      }),
    );
  });
  const possible = candidates.filter(({ logprob }) => logprob > Number.NEGATIVE_INFINITY);
  return possible.sort((a, b) => b.logprob - a.logprob).slice(0, wanted);
}

/** Adds candidates that end among the best to those that ended before, and keeps the best of all. */
function withEnded(
  { numBeams, lengthPenalty, earlyStopping }: Search,
  ended: readonly Beam[],
  { candidates, isLast }: { readonly candidates: readonly Candidate[]; readonly isLast: boolean },
): Beam[] {
  const isFull = earlyStopping === true && ended.length >= numBeams;
  const fresh = candidates
    .filter(({ isEnd }) => (isEnd || isLast) && !isFull)
    .map(({ ids, logprob }): Beam => ({ ids, score: logprob / ids.length ** lengthPenalty }));
  return [...ended, ...fresh].sort((a, b) => b.score - a.score).slice(0, numBeams);
}

/** Whether the search is over: enough sequences have ended, and no open one is likely to be better. */
function isSettled(
  { numBeams, earlyStopping, lengthPenalty, maxTokens }: Search,
  {
    open,
    ended,
    length,
  }: { readonly open: readonly OpenBeam[]; readonly ended: readonly Beam[]; readonly length: number },
): boolean {
  if (ended.length < numBeams) return false;
  if (earlyStopping === true) return true;
  const best = open[0]?.logprob ?? Number.NEGATIVE_INFINITY;
  // A score grows with the length if the penalty is above 0: then only the longest text bounds it.
  const reachable = earlyStopping === "never" && lengthPenalty > 0 ? maxTokens : length;
  return best / reachable ** lengthPenalty <= (ended.at(-1)?.score ?? Number.NEGATIVE_INFINITY);
}

/** Feeds what comes before the first token into slot 0 and copies it to all. */
async function feedFirst({ decoder, history, numBeams }: Search): Promise<Float32Array[]> {
  const logits = await feedPrompt(decoder, history);
  reorder(decoder, new Int32Array(numBeams));
  return [logits];
}

/** Puts each beam into the slot of its place and feeds its last token. */
async function feedBeams(
  { decoder, history, numBeams }: Search,
  beams: readonly Candidate[],
): Promise<Float32Array[]> {
  reorder(
    decoder,
    Int32Array.from({ length: numBeams }, (_, slot) => beams[slot]?.parent ?? slot),
  );
  return decoder.step({
    tokens: Int32Array.from(beams, ({ ids }) => ids.at(-1) ?? 0),
    positions: Int32Array.from(beams, ({ ids }) => history.length + ids.length - 1),
    slots: Int32Array.from(beams.keys()),
    outputs: Int32Array.from(beams.keys()),
  });
}

function reorder(decoder: Decoder, sources: Int32Array): void {
  if (decoder.reorderSlots === undefined) {
    const message =
      "beamSearch: the model's decoder must be able to copy a sequence; got one that is not. Use generate.";
    throw new HeddleError("unsupported", message, {});
  }
  // Slots that no beam has stay as they are.
  decoder.reorderSlots(Int32Array.from({ length: decoder.numSlots }, (_, slot) => sources[slot] ?? slot));
}

function settingsOf({ generationConfig }: AnyModel, options: BeamSearchOptions): Settings {
  checkOptions("beamSearch", options, beamSearchRules);
  const { numBeams = 4, numReturned = 1, lengthPenalty = 1, earlyStopping = false } = options;
  const { eosTokenIds = generationConfig.eosTokenIds } = options;
  if (numReturned > numBeams) {
    const message = `beamSearch: numReturned must not pass numBeams; got numReturned ${numReturned}, numBeams ${numBeams}. Search with more beams.`;
    throw new HeddleError("config", message, { numReturned, numBeams });
  }
  return { numBeams, numReturned, lengthPenalty, earlyStopping, eosTokenIds };
}
