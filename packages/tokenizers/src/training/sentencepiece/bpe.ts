import { compareCodePoints } from "../alphabet.js";
import type { MergeOrder } from "../merge-queue.js";
import { PairMerging, replayMerges } from "../pair-merging.js";
import { createPacer, type TrainingControl } from "../progress.js";
import { countedState, createCheckpoints } from "../training-state.js";
import type { SentencePieceSpec } from "./options.js";
import { UNKNOWN } from "./sentence-normalizer.js";
import type { SentenceCorpus } from "./sentences.js";
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
  const spelled = corpus.words.map(([word]) => Int32Array.from(word, (char) => symbols.idOf(char)));
  const merges: (readonly [string, string])[] = [...(control.resume?.merges ?? [])];
  const pairs = new PairMerging({
    words: replayMerges(
      spelled,
      merges.map(([left, right]) => ({
        left: symbols.idOf(left),
        right: symbols.idOf(right),
        id: symbols.idOf(left + right),
      })),
    ),
    counts: corpus.words.map(([, count]) => count),
    order: symbols.order(),
    mayMerge: (left, right) => isPiece([...symbols.joined(left, right)]),
  });
  const wanted = room - corpus.alphabet.length;
  const learned = new Set(merges.map(([left, right]) => left + right));
  const pace = createPacer(control, "merge");
  const checkpoints = createCheckpoints(control);
  const takeState = () => countedState(corpus.counted, { merges: [...merges] });
  await checkpoints.guard(takeState, async () => {
    while (learned.size < wanted) {
      const best = pairs.take(1);
      if (best === undefined) break;
      const parts = [symbols.nameOf(best.left), symbols.nameOf(best.right)] as const;
      const piece = parts.join("");
      if (learned.has(piece)) continue;
      learned.add(piece);
      merges.push(parts);
      pairs.merge(best, symbols.idOf(piece));
      const pause = pace(learned.size, wanted) ?? checkpoints.offer(takeState);
      if (pause !== null) await pause;
    }
  });
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

  nameOf(id: number): string {
    return this.names[id] as string;
  }

  joined(left: number, right: number): string {
    return this.nameOf(left) + this.nameOf(right);
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
