import { compileAlgorithm } from "../models/sentencepiece-algorithm.js";
import { bestSegmenter } from "../models/unigram.js";
import type { Tokenizer } from "../tokenizer.js";
import { parseSentencePieceModel, type SentencePieceFile } from "./sentencepiece-model.js";
import { type SentencePieceOptions, tokenizerOfPieces } from "./sentencepiece-pieces.js";

/**
 * Loads a SentencePiece `.model` file: unigram, BPE, word or char, with its normaliser and byte fallback.
 *
 * Encoding, decoding and offsets are those of the SentencePiece library: the names of control pieces ("<s>" ...) inside
 * a text stay text, and no BOS is added, unless the options say otherwise. `loadTokenizer` reads both as Hugging Face's
 * loaders do.
 *
 * @throws HeddleError "format" if the bytes are not such a file, "config" if a wanted BOS or EOS piece is missing
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226
 */
export function fromSentencePiece(bytes: Uint8Array, options: SentencePieceOptions = {}): Tokenizer {
  return tokenizerOfFile(parseSentencePieceModel(bytes), options);
}

/** Makes the tokenizer of a model file of any of the four kinds. */
export function tokenizerOfFile(file: SentencePieceFile, options: SentencePieceOptions): Tokenizer {
  return tokenizerOfPieces(file, options, (model) => compileAlgorithm(model, bestSegmenter));
}
