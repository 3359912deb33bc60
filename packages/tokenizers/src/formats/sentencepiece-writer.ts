import { HeddleError } from "../error.js";
import type { Piece } from "../models/sentencepiece-pieces.js";
import type { Tokenizer, TokenizerConfig } from "../tokenizer.js";
import { MessageWriter } from "./protobuf.js";

const KIND_NUMBERS = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
const ALGORITHM_NUMBERS = { unigram: 1, bpe: 2, word: 3, char: 4 } as const;

/**
 * Writes a tokenizer with a SentencePiece model as a SentencePiece `.model` file.
 *
 * What encoding and decoding need is written: pieces, model type, roles, byte fallback, the normaliser with its map.
 * Settings of the training (corpus, coverage ...), the self-test and tokens added outside the file are not.
 *
 * @throws HeddleError "unsupported" for tokenizers of another kind
 * @see sentencepiece/src/sentencepiece_model.proto
 */
export function toSentencePiece(tokenizer: Tokenizer): Uint8Array {
  const { model, normalizer, decoder } = tokenizer.config;
  if (
    model.type !== "SentencePiece" ||
    normalizer?.type !== "SentencePiece" ||
    decoder?.type !== "SentencePiece"
  ) {
    throw new HeddleError(
      "unsupported",
      `toSentencePiece: model, normalizer and decoder must be SentencePiece's; got model ${model.type}, normalizer ${normalizer?.type ?? "none"}, decoder ${decoder?.type ?? "none"}. Write it with toTokenizerJson.`,
      { model: model.type, normalizer: normalizer?.type, decoder: decoder?.type },
    );
  }
  const file = new MessageWriter();
  for (const piece of model.pieces) file.bytes(1, pieceMessage(piece));
  file.bytes(2, trainerSpec(tokenizer.config));
  file.bytes(
    3,
    new MessageWriter()
      .text(1, normalizer.precompiledCharsmap.length === 0 ? "identity" : "user_defined")
      .bytes(2, normalizer.precompiledCharsmap)
      .flag(3, decoder.addDummyPrefix)
      .flag(4, normalizer.removeExtraWhitespaces)
      .flag(5, normalizer.escapeWhitespaces)
      .finish(),
  );
  return file.finish();
}

function pieceMessage({ piece, score, kind }: Piece): Uint8Array {
  const message = new MessageWriter().text(1, piece).float(2, score);
  return (kind === "normal" ? message : message.varint(3, KIND_NUMBERS[kind])).finish();
}

function trainerSpec({ model, decoder, roles = {} }: TokenizerConfig): Uint8Array {
  if (model.type !== "SentencePiece" || decoder?.type !== "SentencePiece") return new Uint8Array(0);
  const idOf = (name: string | undefined) => model.pieces.findIndex(({ piece }) => piece === name);
  const pieces = {
    unk: decoder.unkPiece,
    bos: roles.bos ?? "<s>",
    eos: roles.eos ?? "</s>",
    pad: roles.pad ?? "<pad>",
  };
  return new MessageWriter()
    .varint(3, ALGORITHM_NUMBERS[model.algorithm])
    .varint(4, model.pieces.length)
    .flag(24, model.treatWhitespaceAsSuffix)
    .flag(35, model.byteFallback)
    .varint(40, model.unkId)
    .varint(41, idOf(pieces.bos))
    .varint(42, idOf(pieces.eos))
    .varint(43, idOf(pieces.pad))
    .text(44, decoder.unkSurface)
    .text(45, pieces.unk)
    .text(46, pieces.bos)
    .text(47, pieces.eos)
    .text(48, pieces.pad)
    .finish();
}
