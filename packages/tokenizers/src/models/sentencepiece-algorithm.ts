import { cannotSample, type Sampling } from "./sampling.js";
import { compileSentencePieceBpe } from "./sentencepiece-bpe.js";
import { byText, type CompiledAlgorithm, type SentencePieceModel } from "./sentencepiece-pieces.js";
import { latticeOptions } from "./sentencepiece-unigram.js";
import { compileSentencePieceChars, compileSentencePieceWords } from "./sentencepiece-words.js";
import type { Segmenter } from "./unigram.js";
import type { LatticeOptions } from "./unigram-lattice.js";

/**
 * Prepares the algorithm that a SentencePiece model names.
 *
 * @param createSegmenter  chooses the segmentations of a unigram model
 * @param sampling  draws those of a BPE model; null: the best
 */
export function compileAlgorithm(
  model: SentencePieceModel,
  createSegmenter: (options: LatticeOptions) => Segmenter,
  sampling: Sampling | null = null,
): CompiledAlgorithm {
  switch (model.algorithm) {
    case "unigram":
      return byText(createSegmenter(latticeOptions(model)));
    case "bpe":
      return compileSentencePieceBpe(model, sampling);
    case "char":
      if (sampling !== null) throw cannotSample(model.algorithm);
      return compileSentencePieceChars(model);
    case "word":
      if (sampling !== null) throw cannotSample(model.algorithm);
      return compileSentencePieceWords(model);
    default:
      return model.algorithm satisfies never;
  }
}
