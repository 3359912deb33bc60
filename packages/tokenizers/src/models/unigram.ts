import { codePointLength } from "../aligned-text.js";
import { HeddleError } from "../error.js";
import { PieceTrie, TRIE_ROOT } from "../piece-trie.js";
import { encoder } from "../text-coders.js";
import type { TokenBuffer } from "../token-buffer.js";
import { createVocabulary, type Vocabulary } from "../vocabulary.js";
import { byteTokens } from "./byte-fallback.js";
import type { CompiledModel } from "./compiled.js";
import type { LatticeOptions, PathPiece } from "./unigram-lattice.js";

/** A unigram language model over pieces. */
export interface UnigramModel {
  readonly type: "Unigram";
  /** (piece, log probability); the index is the id. */
  readonly vocab: readonly (readonly [string, number])[];
  readonly unkId: number | null;
  readonly byteFallback: boolean;
}

/** How far below the worst piece an unknown character scores, in nats. */
export const UNKNOWN_PENALTY = 10;

/** Cuts normalised text into pieces; id -1 for what the vocabulary does not hold. */
export type Segmenter = (text: string) => PathPiece[];

/** A unigram model in the terms of the search for segmentations. */
export interface UnigramTables {
  readonly vocabulary: Vocabulary;
  readonly lattice: LatticeOptions;
  /** Writes a segmentation as tokens. */
  readonly emit: (word: string, path: readonly PathPiece[], out: TokenBuffer) => void;
}

/** Reads the tables of a model as Hugging Face `tokenizers` does: float64 scores, unknown characters fused. */
export function readUnigram(model: UnigramModel): UnigramTables {
  const vocabulary = createVocabulary(model.vocab.map(([piece], id) => [piece, id] as const));
  const scores = Float64Array.from(model.vocab, ([, score]) => score);
  const byteIds = model.byteFallback ? byteTokens(vocabulary) : null;
  const least = scores.reduce((now, score) => Math.min(now, score), Number.POSITIVE_INFINITY);
  return {
    vocabulary,
    lattice: {
      pieces: model.vocab.map(([piece], id) => ({ piece, id })),
      scoreOf: (id) => scores[id] as number,
      unknownScore: least - UNKNOWN_PENALTY,
      round: (value) => value,
    },
    emit(word, path, out) {
      for (const { id, start, end } of fuseUnknown(path)) {
        const surface = word.slice(start, end);
        const known = id >= 0 ? id : vocabulary.idOf(surface);
        if (known !== undefined) out.push(known, start, end);
        else pushUnknown(out, { surface, start, end, byteIds, unkId: model.unkId });
      }
    },
  };
}

/**
 * Prepares a unigram model.
 *
 * @param createSegmenter  chooses segmentations: `bestSegmenter`, or one that draws them
 */
export function compileUnigram(
  model: UnigramModel,
  createSegmenter: (options: LatticeOptions) => Segmenter = bestSegmenter,
): CompiledModel {
  const { vocabulary, lattice, emit } = readUnigram(model);
  const segment = createSegmenter(lattice);
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: null,
    createByteCuts: null,
    tokenize: (word, out) => emit(word, segment(word), out),
  };
}

/** Takes the best segmentation of each text. */
export function bestSegmenter(options: LatticeOptions): Segmenter {
  const path = new BestPath(options);
  return (text) => path.find(text);
}

function pushUnknown(
  out: TokenBuffer,
  span: {
    surface: string;
    start: number;
    end: number;
    byteIds: readonly number[] | null;
    unkId: number | null;
  },
): void {
  const { surface, start, end, byteIds, unkId } = span;
  if (byteIds !== null) {
    for (const byte of encoder.encode(surface)) out.push(byteIds[byte] as number, start, end);
    return;
  }
  if (unkId === null) {
    throw new HeddleError(
      "config",
      `unigram: a text with unknown characters needs unkId; got ${JSON.stringify(surface)}. Set unk_id in the model.`,
      { surface },
    );
  }
  out.pushSurface(unkId, [start, end], surface);
}

function* fuseUnknown(path: readonly PathPiece[]): Generator<PathPiece> {
  for (let i = 0; i < path.length; i++) {
    const first = path[i] as PathPiece;
    let last = first;
    while (first.id < 0 && (path[i + 1]?.id ?? 0) < 0) last = path[++i] as PathPiece;
    yield { id: first.id, start: first.start, end: last.end };
  }
}

/**
 * Finds the segmentation with the greatest sum of scores (Viterbi), in time linear in the text for pieces of bounded
 * length: best[end] = max over pieces of best[start] + score(piece).
 *
 * @see Kudo 2018, Subword Regularization, arXiv:1804.10959, section 3.2
 */
export class BestPath {
  private readonly trie = new PieceTrie();
  private best = new Float64Array(64);
  private from = new Int32Array(64);
  private piece = new Int32Array(64);

  constructor(private readonly options: LatticeOptions) {
    for (const { piece, id } of options.pieces) if (piece !== "") this.trie.add(piece, id);
  }

  /** Returns the pieces of the best segmentation from left to right. */
  find(text: string): PathPiece[] {
    this.prepare(text.length);
    for (let start = 0; start < text.length; ) {
      const width = codePointLength(text, start);
      const hasSingle = this.extend(text, start, width);
      if (!hasSingle) this.offer({ start, end: start + width, id: -1, score: this.options.unknownScore });
      start += width;
    }
    const path: PathPiece[] = [];
    for (let end = text.length; end > 0; end = this.from[end] as number) {
      path.push({ id: this.piece[end] as number, start: this.from[end] as number, end });
    }
    return path.reverse();
  }

  private extend(text: string, start: number, width: number): boolean {
    const { trie } = this;
    let hasSingle = false;
    let node = TRIE_ROOT;
    for (let at = start; at < text.length; at++) {
      node = trie.child(node, text.charCodeAt(at));
      if (node < 0) break;
      const id = trie.valueAt(node);
      if (id < 0) continue;
      this.offer({ start, end: at + 1, id, score: this.options.scoreOf(id) });
      if (at + 1 - start === width) hasSingle = true;
    }
    return hasSingle;
  }

  private offer(step: {
    readonly start: number;
    readonly end: number;
    readonly id: number;
    readonly score: number;
  }): void {
    const { start, end, id, score } = step;
    const total = this.options.round(score + (this.best[start] as number));
    if ((this.from[end] as number) >= 0 && total <= (this.best[end] as number)) return;
    this.best[end] = total;
    this.from[end] = start;
    this.piece[end] = id;
  }

  private prepare(length: number): void {
    if (length + 1 > this.best.length) {
      const capacity = Math.max(length + 1, this.best.length * 2);
      this.best = new Float64Array(capacity);
      this.from = new Int32Array(capacity);
      this.piece = new Int32Array(capacity);
    }
    this.best[0] = 0;
    this.from.fill(-1, 0, length + 1);
  }
}
