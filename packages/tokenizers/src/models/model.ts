import type { TokenBuffer } from "../token-buffer.js";
import type { Vocabulary } from "../vocabulary.js";
import type { WordCuts } from "../word-cuts.js";
import { type BpeModel, compileBpe } from "./bpe.js";
import { compileSentencePieceModel } from "./sentencepiece.js";
import type { SentencePieceModel } from "./sentencepiece-pieces.js";
import { compileTiktoken, type TiktokenModel } from "./tiktoken.js";
import { compileUnigram, type UnigramModel } from "./unigram.js";
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

/** A model ready to run. */
export interface CompiledModel {
  readonly vocabulary: Vocabulary;
  /** Makes the table of places where words may be cut first; null if the tokens of a word depend on all of it. */
  readonly createCuts: (() => WordCuts) | null;
  /** Appends the tokens of one word; ranges are in UTF-16 units of the word. */
  tokenize(word: string, out: TokenBuffer): void;
  /** Appends the tokens of the first `length` bytes; ranges are in bytes. Null: write them in the byte alphabet. */
  readonly tokenizeBytes: ((bytes: Uint8Array, length: number, out: TokenBuffer) => void) | null;
}

/** Prepares a model: vocabulary, merge table, trie. */
export function compileModel(model: Model): CompiledModel {
  switch (model.type) {
    case "BPE":
      return compileBpe(model);
    case "Unigram":
      return compileUnigram(model);
    case "WordPiece":
      return compileWordPiece(model);
    case "WordLevel":
      return compileWordLevel(model);
    case "SentencePiece":
      return compileSentencePieceModel(model);
    case "Tiktoken":
      return compileTiktoken(model);
    default:
      return model satisfies never;
  }
}
