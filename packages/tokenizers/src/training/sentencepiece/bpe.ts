import { compareCodePoints } from "../alphabet.js";
import type { MergeOrder } from "../merge-queue.js";
import { PairMerging } from "../pair-merging.js";
import { createPacer, type TrainingControl } from "../progress.js";
import type { SentencePieceSpec } from "./options.js";
import { type SentenceCorpus, UNKNOWN } from "./sentences.js";
import { createPieceRule } from "./valid-piece.js";

/**
 * Learns pieces by byte-pair merges over characters: of equally frequent pairs the one of fewer characters, then the one
 * first in order of code points. A text that two pairs make is a piece once; the second pair is never merged.
 *
 * @param room  pieces to learn, characters included
 * @returns pieces in order; each scores minus its place
 * @see sentencepiece/src/bpe_model_trainer.cc (0.2.2)
 */
export async function trainBpePieces(
  corpus: SentenceCorpus,
  spec: SentencePieceSpec,
  { room, control }: { readonly room: number; readonly control: TrainingControl },
): Promise<string[]> {
  const symbols = new SymbolNames();
  const isPiece = createPieceRule(spec);
  const pairs = new PairMerging({
    words: corpus.words.map(([word]) => Int32Array.from(word, (char) => symbols.idOf(char))),
    counts: corpus.words.map(([, count]) => count),
    order: symbols.order(),
    mayMerge: (left, right) => isPiece([...symbols.joined(left, right)]),
  });
  const wanted = room - corpus.alphabet.length;
  const learned = new Set<string>();
  const pace = createPacer(control, "merge");
  while (learned.size < wanted) {
    const best = pairs.take(1);
    if (best === undefined) break;
    const piece = symbols.joined(best.left, best.right);
    if (learned.has(piece)) continue;
    learned.add(piece);
    pairs.merge(best, symbols.idOf(piece));
    const pause = pace(learned.size, wanted);
    if (pause !== null) await pause;
  }
  return [...learned, ...corpus.alphabet.map(([char]) => char)];
}

/** Texts of symbols and their lengths in characters. */
class SymbolNames {
  private readonly names: string[] = [UNKNOWN];
  private readonly lengths: number[] = [1];
  private readonly ids = new Map([[UNKNOWN, 0]]);

  idOf(name: string): number {
    const known = this.ids.get(name);
    if (known !== undefined) return known;
    this.names.push(name);
    this.lengths.push([...name].length);
    this.ids.set(name, this.names.length - 1);
    return this.names.length - 1;
  }

  joined(left: number, right: number): string {
    return (this.names[left] as string) + (this.names[right] as string);
  }

  order(): MergeOrder {
    const { lengths } = this;
    const lengthOf = (left: number, right: number) => (lengths[left] as number) + (lengths[right] as number);
    return (a, b) => {
      if (a.count !== b.count) return a.count > b.count;
      const difference = lengthOf(a.left, a.right) - lengthOf(b.left, b.right);
      if (difference !== 0) return difference < 0;
      return compareCodePoints(this.joined(a.left, a.right), this.joined(b.left, b.right)) < 0;
    };
  }
}
