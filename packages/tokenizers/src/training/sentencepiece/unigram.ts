import { byteLength } from "../../text-coders.js";
import { compareCodePoints } from "../alphabet.js";
import { createPacer, type TrainingControl } from "../progress.js";
import { repeatedSubstrings } from "../suffix-array.js";
import { countedState, createCheckpoints } from "../training-state.js";
import { digamma } from "../unigram-trainer.js";
import type { Learned } from "./frequency.js";
import type { SentencePieceSpec } from "./options.js";
import { RoundedLattice } from "./rounded-lattice.js";
import { UNKNOWN } from "./sentence-normalizer.js";
import { type SentenceCorpus, sortByCount } from "./sentences.js";
import { createPieceRule } from "./valid-piece.js";
import { splitIntoWords } from "./words.js";

const { fround } = Math;

/**
 * Learns a unigram language model with SentencePiece's steps and its float32 sums.
 *
 * @param corpus  with its sentences
 * @param room  pieces to learn, characters included
 * @returns pieces by falling score
 * @see Kudo 2018, Subword Regularization, arXiv:1804.10959, section 3.2; sentencepiece/src/unigram_model_trainer.cc
 * (0.2.2). Twin: trainUnigram, in float64 with Hugging Face's rules
 */
export async function trainUnigramPieces(
  corpus: SentenceCorpus,
  spec: SentencePieceSpec,
  { room, control }: { readonly room: number; readonly control: TrainingControl },
): Promise<Learned[]> {
  const wanted = Math.floor(spec.vocabSize * 1.1);
  const pace = createPacer(control, "merge");
  const checkpoints = createCheckpoints(control);
  /** Pieces as the last whole round left them. */
  let pieces: readonly Learned[] = control.resume?.pieces ?? seedPieces(corpus, spec);
  const numSeeds = pieces.length;
  const takeState = () => countedState(corpus.counted, { pieces });
  return checkpoints.guard(takeState, async () => {
    for (;;) {
      let estimated = pieces;
      for (let i = 0; i < spec.numSubIterations; i++) {
        estimated = maximize(estimated, expectations(estimated, corpus, spec));
        const pause = pace(numSeeds - estimated.length, null) ?? checkpoints.offer(takeState);
        if (pause !== null) await pause;
      }
      if (estimated.length <= wanted) return finish(estimated, corpus, room);
      pieces = prune(estimated, corpus, { wanted, spec });
    }
  });
}

/**
 * Characters, then repeated substrings by falling count times length, with log probabilities.
 *
 * SentencePiece takes every word of every repeated substring; the first is enough, because what stands behind it is a
 * repeated substring too, and at least as frequent.
 */
function seedPieces(corpus: SentenceCorpus, spec: SentencePieceSpec): Learned[] {
  const isPiece = createPieceRule(spec);
  const symbols: number[] = [];
  for (const sentence of corpus.sentences) {
    for (const char of sentence) symbols.push(char.codePointAt(0) as number);
    symbols.push(END);
  }
  const scores = new Map<string, number>();
  for (const { start, length, count } of repeatedSubstrings(Int32Array.from(symbols))) {
    if (length < 2 || start + length >= symbols.length) continue;
    const run = firstRun(symbols, start, start + Math.min(length, spec.maxPieceLength + 1));
    const piece = spec.splitByWhitespace ? splitIntoWords(run, spec)[0] : run;
    const chars = [...(piece ?? "")];
    if (piece === undefined || chars.length < 2 || !isPiece(chars)) continue;
    scores.set(piece, Math.max(scores.get(piece) ?? 0, count * chars.length));
  }
  const longer = [...scores].sort(
    ([a, m], [b, n]) => n - m || byteLength(b) - byteLength(a) || compareCodePoints(a, b),
  );
  const counted = [
    ...corpus.alphabet.filter(([char]) => char !== UNKNOWN),
    ...longer.slice(0, spec.seedSize),
  ];
  let sum = 0;
  for (const [, score] of counted) sum = fround(sum + fround(score));
  const logSum = fround(Math.log(sum));
  return counted.map(([piece, score]) => [piece, fround(Math.log(fround(score)) - logSum)]);
}

/** The symbol behind each sentence. */
const END = 0;

/** The text up to the end of the sentence. */
function firstRun(symbols: readonly number[], start: number, end: number): string {
  let stop = start;
  while (stop < end && symbols[stop] !== END) stop++;
  return String.fromCodePoint(...symbols.slice(start, stop));
}

/** How often each piece is expected in the corpus, summed in parts. */
function expectations(
  pieces: readonly Learned[],
  { words }: SentenceCorpus,
  { numPartialSums }: SentencePieceSpec,
): Float32Array {
  const lattice = new RoundedLattice(pieces);
  const parts = Array.from({ length: numPartialSums }, () => new Float32Array(pieces.length));
  for (const [i, [word, count]] of words.entries()) {
    lattice.read(word);
    lattice.addExpected(count, parts[i % numPartialSums] as Float32Array);
  }
  return parts.reduce((sum, part) => sum.map((value, id) => value + (part[id] as number)));
}

/** Drops pieces that are expected less than half a time and gives the others their log probabilities. */
function maximize(pieces: readonly Learned[], expected: Float32Array): Learned[] {
  const kept = pieces.map(([piece], id) => [piece, expected[id] as number] as const);
  const frequent = kept.filter(([, count]) => count >= 0.5);
  let sum = 0;
  for (const [, count] of frequent) sum = fround(sum + count);
  const logSum = fround(digamma(sum));
  return frequent.map(([piece, count]) => [piece, fround(digamma(count) - logSum)]);
}

/** Drops the pieces whose loss lowers the likelihood least. */
function prune(
  pieces: readonly Learned[],
  { words }: SentenceCorpus,
  { wanted, spec }: { readonly wanted: number; readonly spec: SentencePieceSpec },
): Learned[] {
  const lattice = new RoundedLattice(pieces);
  const uses = useCounts(lattice, pieces.length, words);
  const sum = fround(uses.reduce((a, b) => a + b, 0));
  const logSum = fround(Math.log(sum));
  const kept: Learned[] = [];
  const losses: { readonly id: number; readonly loss: number }[] = [];
  for (const [id, piece] of pieces.entries()) {
    const use = uses[id] as number;
    if (use === 0) continue;
    lattice.read(piece[0]);
    const [first = [], second] = lattice.twoBest();
    if (second === undefined) kept.push(piece);
    if (second === undefined || first.length > 1) continue;
    const logSumWithout = fround(Math.log(fround(sum + fround(use * (second.length - 1)))));
    let logOthers = 0;
    for (const other of second)
      logOthers = fround(logOthers + (Math.log(fround((uses[other] as number) + use)) - logSumWithout));
    const share = fround(use / sum);
    losses.push({
      id,
      loss: fround(share * fround(fround(Math.log(use) - logSum) - logOthers)),
    });
  }
  const size = Math.max(wanted, Math.floor(fround(fround(spec.shrinkingFactor) * pieces.length)));
  losses.sort((a, b) => b.loss - a.loss || a.id - b.id);
  const room = kept.length > size ? losses.length : size - kept.length;
  return [...kept, ...losses.slice(0, room).map(({ id }) => pieces[id] as Learned)];
}

/** How often each piece stands in the best segmentations. */
function useCounts(
  lattice: RoundedLattice,
  numPieces: number,
  words: readonly (readonly [string, number])[],
): Float32Array {
  const uses = new Float32Array(numPieces);
  for (const [word, count] of words) {
    lattice.read(word);
    for (const id of lattice.best()) uses[id] = (uses[id] as number) + count;
  }
  return uses;
}

/** Adds characters that were lost and cuts to size. */
function finish(pieces: readonly Learned[], { alphabet }: SentenceCorpus, room: number): Learned[] {
  const scores = new Map(pieces);
  const least = pieces.reduce((min, [, score]) => Math.min(min, score), Infinity);
  const chosen = new Map<string, number>();
  let penalty = 0;
  for (const [char] of alphabet) {
    const known = scores.get(char);
    chosen.set(char, known ?? fround(least + penalty));
    if (known === undefined) penalty = fround(penalty + fround(0.0001));
  }
  for (const [piece, score] of sortByCount(pieces)) {
    if (chosen.size === room) break;
    if (!chosen.has(piece)) chosen.set(piece, score);
  }
  return sortByCount(chosen);
}
