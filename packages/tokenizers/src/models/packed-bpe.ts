import { HeddleError } from "../error.js";
import { createVocabulary, type Vocabulary } from "../vocabulary.js";
import type { BpeModel } from "./bpe-model.js";

/** The vocabulary and merges of a byte-pair model in numbers. */
export interface PackedBpe {
  readonly vocabulary: Vocabulary;
  /** Ids of the left part, the right part and the result of each merge, by rank: [3 * merges]. */
  readonly merges: Int32Array;
  /** The slots of the MergeTable, if they are known. */
  readonly slots?: Int32Array;
}

/** What loaders found in numbers, by the model that they made of it. */
const packedModels = new WeakMap<BpeModel, PackedBpe>();

/** Makes a model whose `vocab` and `merges` are written out when somebody asks for them. */
export function bpeOfPacked(settings: Omit<BpeModel, "vocab" | "merges">, packed: PackedBpe): BpeModel {
  let vocab: BpeModel["vocab"] | undefined;
  let merges: BpeModel["merges"] | undefined;
  const model: BpeModel = {
    ...settings,
    get vocab() {
      vocab ??= [...packed.vocabulary.entries()];
      return vocab;
    },
    get merges() {
      merges ??= mergesOf(packed);
      return merges;
    },
  };
  packedModels.set(model, packed);
  return model;
}

function mergesOf({ vocabulary, merges }: PackedBpe): (readonly [string, string])[] {
  const tokenOf = (at: number): string => vocabulary.tokenOf(merges[at] as number) ?? "";
  return Array.from({ length: merges.length / 3 }, (_, i) => [tokenOf(3 * i), tokenOf(3 * i + 1)] as const);
}

/**
 * Turns a model into numbers; for a model that was made of numbers these are at hand.
 *
 * @throws HeddleError "format" if a merge or its result is not in the vocabulary
 */
export function packBpe(model: BpeModel): PackedBpe {
  const known = packedModels.get(model);
  if (known !== undefined) return known;
  const vocabulary = createVocabulary(model.vocab);
  const merges = new Int32Array(model.merges.length * 3);
  const prefixLength = model.continuingSubwordPrefix?.length ?? 0;
  for (const [rank, [left, right]] of model.merges.entries()) {
    const leftId = vocabulary.idOf(left);
    const rightId = vocabulary.idOf(right);
    const resultId = vocabulary.idOf(left + right.slice(prefixLength));
    if (leftId === undefined || rightId === undefined || resultId === undefined) {
      throw new HeddleError(
        "format",
        `compileBpe: a merge and its result must be in the vocabulary; got merge ${rank} ${JSON.stringify([left, right])}. Add the missing token or drop the merge.`,
        { rank, left, right },
      );
    }
    merges.set([leftId, rightId, resultId], rank * 3);
  }
  return { vocabulary, merges };
}
