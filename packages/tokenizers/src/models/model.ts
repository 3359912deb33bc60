import { createLoneCuts } from "../lone-characters.js";
import { compileBpe } from "./bpe.js";
import type { BpeModel } from "./bpe-model.js";
import type { CompiledModel } from "./compiled.js";
import { cannotSample, type Sampling } from "./sampling.js";
import { compileSentencePieceModel } from "./sentencepiece.js";
import { compileAlgorithm } from "./sentencepiece-algorithm.js";
import type { SentencePieceModel } from "./sentencepiece-pieces.js";
import { compileTiktoken, type TiktokenModel } from "./tiktoken.js";
import { bestSegmenter, compileUnigram, type Segmenter, type UnigramModel } from "./unigram.js";
import { type LatticeOptions, UnigramLattice } from "./unigram-lattice.js";
import { compileWordLevel, type WordLevelModel } from "./word-level.js";
import { compileWordPiece, type WordPieceModel } from "./word-piece.js";

/** Turns words into tokens; the fields are those of tokenizer.json in camel case, plus the kinds of other files. */
export type Model =
  | BpeModel
  | UnigramModel
  | WordPieceModel
  | WordLevelModel
  | SentencePieceModel
  | TiktokenModel;

/**
 * Prepares a model: vocabulary, merge table, trie.
 *
 * @param sampling  draw segmentations; null: take the best
 */
export function compileModel(model: Model, sampling: Sampling | null = null): CompiledModel {
  const createSegmenter = sampling === null ? bestSegmenter : drawingSegmenter(sampling);
  switch (model.type) {
    case "BPE":
      return compileBpe(model, sampling, createLoneCuts);
    case "Unigram":
      return compileUnigram(model, createSegmenter);
    case "WordPiece":
      if (sampling !== null) throw cannotSample(model.type);
      return compileWordPiece(model);
    case "WordLevel":
      if (sampling !== null) throw cannotSample(model.type);
      return compileWordLevel(model);
    case "SentencePiece":
      return compileSentencePieceModel(model, compileAlgorithm(model, createSegmenter, sampling));
    case "Tiktoken":
      return compileTiktoken(model, sampling);
    default:
      return model satisfies never;
  }
}

/** Draws a segmentation of each text. */
function drawingSegmenter({ alpha, random }: Sampling): (options: LatticeOptions) => Segmenter {
  return (options) => {
    const lattice = new UnigramLattice(options);
    return (text) => {
      lattice.read(text);
      return lattice.sample(alpha, random);
    };
  };
}
