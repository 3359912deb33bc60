import { byteOfToken } from "../models/byte-fallback.js";
import { SPACE_SYMBOL } from "../normalizers/sentencepiece.js";
import { type QuickDecoder, TokenTextDecoder } from "./quick.js";
import type { DecodeStage, Emit } from "./stage.js";
import { looseTextOfRun, utf8CharacterLength } from "./utf8.js";

/** Decoding as the SentencePiece library does it. */
export interface SentencePieceDecoder {
  readonly type: "SentencePiece";
  /** The piece that stands for unknown text, and what is written for it. */
  readonly unkPiece: string;
  readonly unkSurface: string;
  /** Pieces that give no text. */
  readonly controlPieces: readonly string[];
  readonly byteFallback: boolean;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
}

/** Creates the stage; a byte is held until its character is whole or can no longer become one. */
export function createSentencePieceStage(options: SentencePieceDecoder): DecodeStage {
  const control = new Set(options.controlPieces);
  const dropsFirstSpace = options.addDummyPrefix || options.removeExtraWhitespaces;
  const bytes = createByteRun();
  let isAtStart = true;
  let sawFirstSpace = false;
  return {
    push(piece, _continues, emit) {
      const byte = options.byteFallback ? byteOfToken(piece) : -1;
      if (byte >= 0) {
        if (bytes.push(byte, emit)) isAtStart = false;
        return;
      }
      if (bytes.flush(emit)) isAtStart = false;
      if (sawFirstSpace) isAtStart = false;
      sawFirstSpace = false;
      if (control.has(piece)) return;
      let text = piece === options.unkPiece ? options.unkSurface : piece;
      if (piece !== options.unkPiece) {
        if (isAtStart && dropsFirstSpace && text.startsWith(SPACE_SYMBOL)) {
          text = text.slice(SPACE_SYMBOL.length);
          sawFirstSpace = !options.removeExtraWhitespaces;
        }
        text = text.replaceAll(SPACE_SYMBOL, " ");
      }
      if (text === "") return;
      isAtStart = false;
      emit(text, false);
    },
    flush(emit) {
      bytes.flush(emit);
    },
  };
}

/** The quick way. */
export function createSentencePieceQuick(options: SentencePieceDecoder): QuickDecoder {
  const control = new Set(options.controlPieces);
  return new TokenTextDecoder({
    createStages: () => [createSentencePieceStage(options)],
    textOf(piece) {
      const byte = options.byteFallback ? byteOfToken(piece) : -1;
      if (byte >= 0) return byte;
      if (control.has(piece)) return "";
      return piece === options.unkPiece ? options.unkSurface : piece.replaceAll(SPACE_SYMBOL, " ");
    },
    textOfBytes: looseTextOfRun,
  });
}

interface ByteRun {
  /** Takes a byte and emits what has become certain; true if something was held or emitted. */
  push(byte: number, emit: Emit): boolean;
  flush(emit: Emit): boolean;
}

function createByteRun(): ByteRun {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let pending: number[] = [];
  const drain = (emit: Emit, isEnd: boolean): boolean => {
    let hasText = false;
    while (pending.length > 0) {
      const length = utf8CharacterLength(pending, 0);
      if (length < 0 && !isEnd) return hasText;
      const taken = Math.max(1, length);
      emit(length > 0 ? decoder.decode(Uint8Array.from(pending.slice(0, taken))) : "\ufffd", false);
      pending = pending.slice(taken);
      hasText = true;
    }
    return hasText;
  };
  return {
    push(byte, emit) {
      pending.push(byte);
      return drain(emit, false);
    },
    flush: (emit) => drain(emit, true),
  };
}
