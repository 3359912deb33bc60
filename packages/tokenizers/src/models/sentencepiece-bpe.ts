import { codePointLength } from "../aligned-text.js";
import { longestPrefix } from "../piece-trie.js";
import { TokenBuffer } from "../token-buffer.js";
import { createVocabulary } from "../vocabulary.js";
import { createWordCuts } from "../word-cuts.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
import type { Sampling } from "./sampling.js";
import {
  type CompiledAlgorithm,
  type Piece,
  type SentencePieceModel,
  userDefinedTrie,
} from "./sentencepiece-pieces.js";
import type { PathPiece } from "./unigram-lattice.js";

/**
 * Prepares SentencePiece's byte-pair encoding: any two neighbours merge whose joined text is a piece, the piece of
 * greatest score first, of equals the leftmost. User-defined symbols never merge. Merges into unused pieces are
 * undone at the end.
 *
 * @see sentencepiece/src/bpe_model.cc
 */
export function compileSentencePieceBpe(
  model: SentencePieceModel,
  sampling: Sampling | null = null,
): CompiledAlgorithm {
  const symbols = new SymbolTable(model.pieces);
  const merger = new Merger(symbols.mergeTable(), sampling);
  const userDefined = userDefinedTrie(model.pieces);
  const tokens = new TokenBuffer();
  const segment = (text: string): PathPiece[] => {
    merger.clear();
    tokens.clear();
    for (let at = 0; at < text.length; ) {
      const frozen = longestPrefix(userDefined, text, at);
      const end = at + (frozen || codePointLength(text, at));
      const symbol = text.slice(at, end);
      merger.add(frozen > 0 ? symbols.frozenId(symbol) : symbols.idOf(symbol), at, end);
      at = end;
    }
    merger.merge(tokens);
    const path: PathPiece[] = [];
    for (let i = 0; i < tokens.length; i++) {
      const range = [tokens.starts[i] as number, tokens.ends[i] as number] as const;
      symbols.resegment(tokens.ids[i] as number, range, path);
    }
    return path;
  };
  const createCuts =
    sampling === null
      ? () => createWordCuts(createVocabulary(mergedPieces(model.pieces)).packed, model.byteFallback)
      : null;
  return { segment, createCuts };
}

function* mergedPieces(pieces: readonly Piece[]): Generator<[string, number]> {
  for (const [id, { piece, kind }] of pieces.entries()) {
    if (piece !== "" && (kind === "normal" || kind === "userDefined" || kind === "unused")) yield [piece, id];
  }
}

/**
 * Gives a number to every piece that may take part in merging. Numbers below the vocabulary's size are ids; characters
 * which only occur inside longer pieces come behind, and one number stands for all unknown characters.
 */
class SymbolTable {
  private readonly ids = new Map<string, number>();
  private readonly frozen = new Map<string, number>();
  private readonly numIds: number;
  private readonly unknown: number;
  /** Frozen symbols are numbered from here, so that no merge finds them. */
  private readonly frozenBase: number;
  /** How an unused piece was made. */
  private readonly parts = new Map<number, readonly [string, string]>();

  constructor(private readonly pieces: readonly Piece[]) {
    this.numIds = pieces.length;
    for (const [id, { piece, kind }] of pieces.entries()) {
      if (kind === "normal" || kind === "unused") this.ids.set(piece, id);
      if (kind === "userDefined") {
        this.ids.set(piece, id);
        this.frozen.set(piece, id);
      }
    }
    let next = pieces.length;
    for (const { piece, kind } of pieces) {
      if (kind !== "normal" && kind !== "unused") continue;
      for (const char of piece) if (!this.ids.has(char)) this.ids.set(char, next++);
    }
    this.unknown = next;
    this.frozenBase = next + 1;
  }

  idOf(symbol: string): number {
    return this.ids.get(symbol) ?? this.unknown;
  }

  frozenId(symbol: string): number {
    return this.frozenBase + (this.frozen.get(symbol) as number);
  }

  mergeTable(): MergeTable {
    const byScore = [...new Set(this.pieces.map(({ score }) => score))].sort((a, b) => b - a);
    const rankOfScore = new Map(byScore.map((score, rank) => [score, rank]));
    const merges: number[] = [];
    const ranks: number[] = [];
    for (const [id, { piece, kind, score }] of this.pieces.entries()) {
      if (kind !== "normal" && kind !== "unused" && kind !== "userDefined") continue;
      for (let cut = codePointLength(piece, 0); cut < piece.length; cut += codePointLength(piece, cut)) {
        const left = this.ids.get(piece.slice(0, cut));
        const right = left === undefined ? undefined : this.ids.get(piece.slice(cut));
        if (left === undefined || right === undefined) continue;
        merges.push(left, right, id);
        ranks.push(rankOfScore.get(score) as number);
        if (kind === "unused" && !this.parts.has(id))
          this.parts.set(id, [piece.slice(0, cut), piece.slice(cut)]);
      }
    }
    return new MergeTable(Int32Array.from(merges), ranks);
  }

  /** Appends a symbol to the path, taking unused pieces apart again. */
  resegment(symbol: number, [start, end]: readonly [number, number], path: PathPiece[]): void {
    const id = symbol >= this.frozenBase ? symbol - this.frozenBase : symbol < this.numIds ? symbol : -1;
    const parts = this.pieces[id]?.kind === "unused" ? this.parts.get(id) : undefined;
    if (parts === undefined) {
      path.push({ id, start, end });
      return;
    }
    const middle = start + parts[0].length;
    this.resegment(this.idOf(parts[0]), [start, middle], path);
    this.resegment(this.idOf(parts[1]), [middle, end], path);
  }
}
