import { HeddleError } from "../error.js";
import { parseSentencePieceModel } from "../formats/sentencepiece-model.js";
import { type SentencePieceOptions, tokenizerOfPieces } from "../formats/sentencepiece-pieces.js";
import { byText } from "../models/sentencepiece-pieces.js";
import { latticeOptions } from "../models/sentencepiece-unigram.js";
import { bestSegmenter } from "../models/unigram.js";
import type { Tokenizer } from "../tokenizer.js";

export type { Encoding } from "../encoding.js";
export { HeddleError, type HeddleErrorCode } from "../error.js";
export type { Tokenizer } from "../tokenizer.js";
export type { SentencePieceOptions };

/**
 * Loads a SentencePiece `.model` file of a unigram model, without the code for the other three kinds.
 *
 * @throws HeddleError "unsupported" for a model of another kind, "format" if the bytes are not such a file, "config" if a
 *   wanted BOS or EOS piece is missing
 * @see Kudo 2018, Subword Regularization, arXiv:1804.10959
 */
export function fromSentencePiece(bytes: Uint8Array, options: SentencePieceOptions = {}): Tokenizer {
  return tokenizerOfPieces(parseSentencePieceModel(bytes), options, (model) => {
    if (model.algorithm === "unigram") return byText(bestSegmenter(latticeOptions(model)));
    throw new HeddleError(
      "unsupported",
      `fromSentencePiece: @heddle/tokenizers/unigram reads unigram models; got algorithm ${JSON.stringify(model.algorithm)}. Import fromSentencePiece from @heddle/tokenizers/sentencepiece.`,
      { algorithm: model.algorithm },
    );
  });
}
