import { HeddleError } from "../error.js";
import { UNKNOWN_PENALTY, type UnigramModel } from "../models/unigram.js";
import { UnigramLattice } from "../models/unigram-lattice.js";
import { compareCodePoints } from "./alphabet.js";
import { createPacer, type TrainingControl } from "./progress.js";
import { countedState, createCheckpoints } from "./training-state.js";
import { addExpected, bestPath } from "./unigram-paths.js";
import { type ScoredPiece, seedPieces } from "./unigram-seed.js";
import { countCorpusWords, type WordOptions } from "./word-counts.js";

export interface TrainUnigramOptions extends WordOptions, TrainingControl {
  /** Pieces in all, special tokens included. */
  readonly vocabSize: number;
  /** Stands for unknown characters; put first if it is not among specialTokens. Default none. */
  readonly unkToken?: string | null;
  /** Characters that are pieces whether or not they occur. */
  readonly initialAlphabet?: readonly string[];
  /** Share of the pieces that each round keeps; default 0.75. */
  readonly shrinkingFactor?: number;
  /** Longest piece in characters; default 16. */
  readonly maxPieceLength?: number;
  /** EM steps between two rounds; default 2. */
  readonly numSubIterations?: number;
  /** Pieces to begin with; default 1 000 000. */
  readonly seedSize?: number;
}

/**
 * Learns a unigram language model: begins with many repeated substrings, estimates their probabilities by
 * expectation maximisation, drops those whose loss lowers the likelihood least, and goes on until few enough are left.
 *
 * The steps are those of Hugging Face `tokenizers`' UnigramTrainer: scores agree to rounding; about one piece in a
 * hundred, of those cut last, differs.
 *
 * @param texts  documents or lines, read once; their distinct words are kept
 * @returns a model for `createTokenizer`: special tokens first, then pieces by falling log probability
 * @throws HeddleError "config" if vocabSize has no room for the characters; the signal's reason if stopped
 * @see Kudo 2018, Subword Regularization, arXiv:1804.10959, section 3.2.
 * Differs from the paper: probabilities are exp(digamma(count) - digamma(total)), and pieces of an expected count below
 * 0.5 go at once, as in SentencePiece
 */
export async function trainUnigram(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainUnigramOptions,
): Promise<UnigramModel> {
  const words = await countCorpusWords(texts, options);
  const training = new UnigramTraining(words, options);
  const pace = createPacer(options, "merge");
  const checkpoints = createCheckpoints(options);
  let atRound: readonly ScoredPiece[] = training.pieces;
  const numFirst = atRound.length;
  const takeState = () => countedState(words, { pieces: atRound });
  await checkpoints.guard(takeState, async () => {
    do {
      atRound = training.pieces;
      for (let i = 0; i < (options.numSubIterations ?? 2); i++) {
        training.estimate();
        const pause = pace(numFirst - training.pieces.length, null) ?? checkpoints.offer(takeState);
        if (pause !== null) await pause;
      }
    } while (training.prune());
  });
  const model = training.finish();
  options.onProgress?.({ phase: "merge", done: model.vocab.length, total: model.vocab.length });
  return model;
}

/** A piece that is expected less often is dropped. */
const LEAST_EXPECTED = 0.5;
/** The unknown character counts as a piece where pieces are counted. */
const UNKNOWN = 1;

/** The state of a unigram training; `estimate` and `prune` take turns. */
export class UnigramTraining {
  pieces: ScoredPiece[];
  private readonly words: readonly (readonly [word: string, count: number])[];
  private readonly numWords: number;
  private readonly alphabet: readonly string[];
  private lattice: UnigramLattice;

  constructor(
    wordCounts: ReadonlyMap<string, number>,
    private readonly options: TrainUnigramOptions,
  ) {
    // In a fixed order, so that sums round alike whichever thread counted a word.
    this.words = [...wordCounts].filter(([word]) => word !== "").sort(([a], [b]) => compareCodePoints(a, b));
    this.numWords = this.words.reduce((sum, [, count]) => sum + count, 0);
    const chars = new Set(options.initialAlphabet);
    for (const [word] of this.words) for (const char of word) chars.add(char);
    this.alphabet = [...chars].sort(compareCodePoints);
    const needed = this.alphabet.length + this.specials().length;
    if (needed > options.vocabSize) {
      throw new HeddleError(
        "config",
        `trainUnigram: vocabSize must have room for special tokens and characters; got vocabSize ${options.vocabSize}, needed ${needed}. Raise vocabSize.`,
        { vocabSize: options.vocabSize, needed },
      );
    }
    const { seedSize = 1_000_000, maxPieceLength = 16 } = options;
    const resumed = options.resume?.pieces;
    this.pieces =
      resumed === undefined ? seedPieces(new Map(this.words), { seedSize, maxPieceLength }) : [...resumed];
    this.lattice = latticeOf(this.pieces);
  }

  /**
   * One step of expectation maximisation.
   *
   * @returns the mean log probability of a word before the step, in nats
   */
  estimate(): number {
    const { pieces, words, lattice } = this;
    const expected = new Float64Array(pieces.length);
    let logLikelihood = 0;
    for (const [word, count] of words) {
      lattice.read(word);
      logLikelihood += count * addExpected(lattice, count, expected);
    }
    const kept: ScoredPiece[] = [];
    let sum = 0;
    for (const [id, [piece]] of pieces.entries()) {
      const count = expected[id] as number;
      if (count < LEAST_EXPECTED) continue;
      kept.push([piece, count]);
      sum += count;
    }
    const logSum = digamma(sum);
    this.replace(kept.map(([piece, count]) => [piece, digamma(count) - logSum]));
    return logLikelihood / Math.max(1, this.numWords);
  }

  /** Drops the pieces that are missed least; false if there are few enough already. */
  prune(): boolean {
    const wanted = Math.floor((this.options.vocabSize * 11) / 10);
    const { pieces } = this;
    if (pieces.length + UNKNOWN <= wanted) return false;
    const { kept, losses } = this.lossesWithout(this.alternatives());
    const shrunk = Math.floor((pieces.length + UNKNOWN) * (this.options.shrinkingFactor ?? 0.75));
    const room = Math.max(Math.max(wanted, shrunk) - UNKNOWN - kept.length, 0);
    losses.sort((a, b) => b.loss - a.loss);
    const chosen = losses.slice(0, room).map(({ id }) => pieces[id] as ScoredPiece);
    this.replace([...kept, ...chosen]);
    return kept.length + chosen.length < pieces.length;
  }

  /** Puts special tokens in front, adds characters that were lost and cuts the rest by order. */
  finish(): UnigramModel {
    const { vocabSize, unkToken = null } = this.options;
    const specials = this.specials();
    const scores = new Map(this.pieces);
    const chosen = new Map<string, number>();
    let penalty = 0;
    const least = this.pieces.reduce((min, [, score]) => Math.min(min, score), 0);
    for (const char of this.alphabet) {
      const known = scores.get(char);
      chosen.set(char, known ?? least + penalty);
      if (known === undefined) penalty += 0.0001;
    }
    for (const [piece, score] of this.pieces) {
      if (chosen.size >= vocabSize - specials.length) break;
      if (!specials.includes(piece)) chosen.set(piece, score);
    }
    const sorted = [...chosen].sort(([, a], [, b]) => b - a);
    return {
      type: "Unigram",
      vocab: [...specials.map((token) => [token, 0] as const), ...sorted],
      unkId: unkToken === null ? null : specials.indexOf(unkToken),
      byteFallback: false,
    };
  }

  private specials(): string[] {
    const { specialTokens = [], unkToken = null } = this.options;
    const first = unkToken === null || specialTokens.includes(unkToken) ? [] : [unkToken];
    return [...first, ...specialTokens];
  }

  private replace(pieces: ScoredPiece[]): void {
    this.pieces = pieces;
    this.lattice = latticeOf(pieces);
  }

  /**
   * Finds how each piece would be written without it: ids of the pieces in its place; [] if it must stay, null if it is
   * written otherwise even now.
   */
  private alternatives(): (readonly number[] | null)[] {
    return this.pieces.map(([piece, score]) => {
      this.lattice.read(piece);
      const other = bestPath(this.lattice, { exceptWhole: true });
      if (other === null) return [];
      return other.score > score ? null : other.ids;
    });
  }

  /** Estimates for each piece how much likelihood is lost if its alternative takes its place. */
  private lossesWithout(alternatives: readonly (readonly number[] | null)[]): {
    kept: ScoredPiece[];
    losses: { id: number; loss: number }[];
  } {
    const { pieces, words, lattice } = this;
    const unknown = pieces.length;
    const uses = new Float64Array(pieces.length + UNKNOWN);
    const slotOf = (id: number) => (id < 0 ? unknown : id);
    for (const [word, count] of words) {
      lattice.read(word);
      for (const id of bestPath(lattice)?.ids ?? []) {
        const slot = slotOf(id);
        uses[slot] = (uses[slot] as number) + count;
      }
    }
    const sum = uses.reduce((a, b) => a + b, 0);
    const kept: ScoredPiece[] = [];
    const losses: { id: number; loss: number }[] = [];
    for (const [id, piece] of pieces.entries()) {
      const use = uses[id] as number;
      const others = alternatives[id] ?? [];
      if (use === 0 && alternatives[id] === null) continue;
      if (others.length === 0) kept.push(piece);
      if (others.length === 0 || use === 0) continue;
      const logSumWithout = Math.log(sum + use * (others.length - 1));
      let logOthers = 0;
      for (const other of others)
        logOthers += Math.log((uses[slotOf(other)] as number) + use) - logSumWithout;
      losses.push({ id, loss: (use / this.numWords) * (Math.log(use) - Math.log(sum) - logOthers) });
    }
    return { kept, losses };
  }
}

function latticeOf(pieces: readonly ScoredPiece[]): UnigramLattice {
  const least = pieces.reduce((min, [, score]) => Math.min(min, score), 0);
  return new UnigramLattice({
    pieces: pieces.map(([piece], id) => ({ piece, id })),
    scoreOf: (id) => (pieces[id] as ScoredPiece)[1],
    unknownScore: least - UNKNOWN_PENALTY,
    round: (value) => value,
  });
}

/** The derivative of the logarithm of the gamma function, for x > 0. */
export function digamma(x: number): number {
  let result = 0;
  let at = x;
  for (; at < 7; at++) result -= 1 / at;
  at -= 0.5;
  const xx = 1 / at ** 2;
  const xxxx = xx * xx;
  const series = xx / 24 - (7 / 960) * xxxx + (31 / 8064) * xxxx * xx - (127 / 30720) * xxxx * xxxx;
  return result + Math.log(at) + series;
}
