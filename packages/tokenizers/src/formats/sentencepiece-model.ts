import { HeddleError } from "../error.js";
import type { Piece, PieceKind, SentencePieceModel } from "../models/sentencepiece-pieces.js";
import { decoder } from "../text-coders.js";
import { readMessage, type WireField } from "./protobuf.js";

/** What a SentencePiece model file says, as far as encoding and decoding need it. */
export interface SentencePieceFile {
  readonly pieces: readonly Piece[];
  readonly algorithm: SentencePieceModel["algorithm"];
  readonly byteFallback: boolean;
  readonly treatWhitespaceAsSuffix: boolean;
  readonly unkSurface: string;
  readonly unkPiece: string;
  readonly bosPiece: string;
  readonly eosPiece: string;
  readonly padPiece: string;
  readonly precompiledCharsmap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Piece types by their number in the file. */
const KINDS: readonly (PieceKind | undefined)[] = [
  undefined,
  "normal",
  "unknown",
  "control",
  "userDefined",
  "unused",
  "byte",
];
const ALGORITHMS: readonly (SentencePieceModel["algorithm"] | undefined)[] = [
  undefined,
  "unigram",
  "bpe",
  "word",
  "char",
];

/**
 * Reads a SentencePiece `.model` file (a protocol-buffers message).
 *
 * @throws HeddleError "format" if the bytes are not such a message or hold no pieces
 * @see sentencepiece/src/sentencepiece_model.proto
 */
export function parseSentencePieceModel(bytes: Uint8Array): SentencePieceFile {
  const pieces: Piece[] = [];
  const file: Mutable<SentencePieceFile> = {
    pieces,
    algorithm: "unigram",
    byteFallback: false,
    treatWhitespaceAsSuffix: false,
    unkSurface: " \u2047 ",
    unkPiece: "<unk>",
    bosPiece: "<s>",
    eosPiece: "</s>",
    padPiece: "<pad>",
    precompiledCharsmap: new Uint8Array(0),
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
  };
  const specs = new Set<number>();
  for (const field of readMessage(bytes, "the model")) {
    if (field.type !== "bytes") continue;
    if (field.number === 2 || field.number === 3) specs.add(field.number);
    if (field.number === 1) pieces.push(readPiece(field.bytes, pieces.length));
    else if (field.number === 2) readTrainerSpec(field.bytes, file);
    else if (field.number === 3) readNormalizerSpec(field.bytes, file);
  }
  if (pieces.length === 0 || specs.size < 2) {
    throw new HeddleError(
      "format",
      `parseSentencePieceModel: a model must hold pieces, and behind them trainer_spec and normalizer_spec; got ${pieces.length} pieces and ${specs.size} specs in ${bytes.length} bytes. Check that this is a whole SentencePiece .model file.`,
      { pieces: pieces.length, length: bytes.length },
    );
  }
  return file;
}

function readPiece(bytes: Uint8Array, index: number): Piece {
  let piece = "";
  let score = 0;
  let kind: PieceKind = "normal";
  for (const field of readMessage(bytes, `pieces[${index}]`)) {
    if (field.number === 1 && field.type === "bytes") piece = decoder.decode(field.bytes);
    if (field.number === 2 && field.type === "fixed32") score = floatOf(field.bytes);
    if (field.number === 3 && field.type === "varint") kind = kindOf(field.value, index);
  }
  return { piece, score, kind };
}

function floatOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}

function kindOf(value: number, index: number): PieceKind {
  const kind = KINDS[value];
  if (kind !== undefined) return kind;
  throw new HeddleError(
    "unsupported",
    `parseSentencePieceModel: pieces[${index}].type must be 1 to 6; got ${value}. This model is of a newer format.`,
    { index, type: value },
  );
}

function readTrainerSpec(bytes: Uint8Array, file: Mutable<SentencePieceFile>): void {
  for (const field of readMessage(bytes, "trainer_spec")) {
    if (field.type === "varint") {
      if (field.number === 3) file.algorithm = algorithmOf(field.value);
      if (field.number === 24) file.treatWhitespaceAsSuffix = field.value !== 0;
      if (field.number === 35) file.byteFallback = field.value !== 0;
    } else if (field.type === "bytes") {
      const text = decoder.decode(field.bytes);
      if (field.number === 44) file.unkSurface = text;
      if (field.number === 45) file.unkPiece = text;
      if (field.number === 46) file.bosPiece = text;
      if (field.number === 47) file.eosPiece = text;
      if (field.number === 48) file.padPiece = text;
    }
  }
}

function algorithmOf(value: number): SentencePieceModel["algorithm"] {
  const algorithm = ALGORITHMS[value];
  if (algorithm !== undefined) return algorithm;
  throw new HeddleError(
    "unsupported",
    `parseSentencePieceModel: trainer_spec.model_type must be 1 (unigram), 2 (bpe), 3 (word) or 4 (char); got ${value}. This model is of a newer format.`,
    { modelType: value },
  );
}

function readNormalizerSpec(bytes: Uint8Array, file: Mutable<SentencePieceFile>): void {
  for (const field of readMessage(bytes, "normalizer_spec")) {
    if (field.number === 2 && field.type === "bytes") file.precompiledCharsmap = field.bytes.slice();
    if (field.number === 3) file.addDummyPrefix = isSet(field);
    if (field.number === 4) file.removeExtraWhitespaces = isSet(field);
    if (field.number === 5) file.escapeWhitespaces = isSet(field);
  }
}

function isSet(field: WireField): boolean {
  return field.type === "varint" && field.value !== 0;
}
